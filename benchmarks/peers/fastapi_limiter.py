"""The `fastapi-limiter` library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.base import ASGI, FASTAPI, Peer

if TYPE_CHECKING:
    from benchmarks.peers.base import Setting


async def _address(request: Any) -> str:
    return str(request.client.host)


class FastapiLimiter(Peer):
    """A dependency around PyrateLimiter; its own example is one bucket for all clients."""

    name = "fastapi-limiter"
    packages = ("fastapi-limiter", "pyrate-limiter", "fastapi", "uvicorn")
    way = "`Depends(RateLimiter(limiter=Limiter(Rate(…)), identifier=address))`; no header fields"
    frameworks = (FASTAPI,)
    offers = {ASGI: ("memory",)}

    def asgi(self, _store: str, setting: Setting) -> Any:
        """Return an application with the dependency."""
        from fastapi import Depends
        from fastapi_limiter.depends import RateLimiter
        from pyrate_limiter import Duration, Limiter, Rate

        from benchmarks.applications import application

        limiter = Limiter(Rate(setting.limit, Duration.SECOND * setting.seconds))
        dependency = Depends(RateLimiter(limiter=limiter, identifier=_address))
        return application(setting.framework, dependencies=[dependency])


PEER = FastapiLimiter()
