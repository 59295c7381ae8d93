"""Limit requests to any ASGI application."""

from ratelimit.asgi.identity import client_ip, header
from ratelimit.asgi.middleware import RateLimitMiddleware
from ratelimit.asgi.rules import Rule

__all__ = ["RateLimitMiddleware", "Rule", "client_ip", "header"]
