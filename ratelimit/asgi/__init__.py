"""Limit requests to any ASGI application."""

from ratelimit.asgi.clients import client_ip, from_networks
from ratelimit.asgi.identity import api_key, combined, cookie, header, path_param, user
from ratelimit.asgi.limit import Limit
from ratelimit.asgi.messages import MessageLimit, message_size
from ratelimit.asgi.middleware import RateLimitMiddleware
from ratelimit.asgi.rule_book import RuleBook
from ratelimit.asgi.rule_file import RuleFile
from ratelimit.asgi.rules import Rule
from ratelimit.asgi.state import charge, decisions, record, refund

__all__ = [
    "Limit",
    "MessageLimit",
    "RateLimitMiddleware",
    "Rule",
    "RuleBook",
    "RuleFile",
    "api_key",
    "charge",
    "client_ip",
    "combined",
    "cookie",
    "decisions",
    "from_networks",
    "header",
    "message_size",
    "path_param",
    "record",
    "refund",
    "user",
]
