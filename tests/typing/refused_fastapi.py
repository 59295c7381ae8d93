"""What users of FastAPI and WebSockets may write by mistake, and what each checker says to it."""

from __future__ import annotations

from starlette.requests import Request

from ratelimit import Limiter, TokenBucket
from ratelimit.asgi import MessageLimit, message_size
from ratelimit.fastapi import RateLimit, document_limits
from ratelimit.stores.redis import RedisStore
from tests.typing.accepted_fastapi import awaits, blocks

TEN = TokenBucket("10/second")
limit = RateLimit(TEN)
request = Request({"type": "http"})
blocking = RedisStore("redis://localhost")

RateLimit("10/second")  # refused: arg-type reportArgumentType
RateLimit(Limiter(TEN))  # refused: arg-type reportArgumentType
RateLimit({"a": TEN}, key={"a": 1})  # refused: dict-item reportArgumentType
RateLimit(TEN, "reports")  # refused: call-arg reportCallIssue
RateLimit(TEN, name=5)  # refused: arg-type reportArgumentType
RateLimit(TEN, key=5)  # refused: arg-type reportArgumentType
RateLimit(TEN, cost="1")  # refused: arg-type reportArgumentType
RateLimit(TEN, unknown="allow")  # refused: arg-type reportArgumentType
RateLimit(TEN, name="a", store=blocking)  # refused: arg-type reportArgumentType
document_limits(limit)  # refused: arg-type reportArgumentType
limit.endpoint(5)  # refused: call-overload reportArgumentType reportCallIssue
later = awaits(5)  # refused: arg-type reportArgumentType
print(blocks(request).body)  # refused: attr-defined reportAttributeAccessIssue

MessageLimit("a", "10/second")  # refused: arg-type reportArgumentType
MessageLimit("a", TEN, policy="ignore")  # refused: arg-type reportArgumentType
MessageLimit("a", TEN, cost=str)  # refused: arg-type reportArgumentType
MessageLimit("a", TEN, key=message_size)  # refused: arg-type reportArgumentType
