"""Whether a server suits limits."""

from __future__ import annotations

from ratelimit.errors import StoreError

_OLDEST = (6, 2)
_EVICTS = (
    "Redis evicts keys when it is full (maxmemory-policy {}), and a key that is evicted starts "
    "anew: take noeviction, or a server of their own for limits"
)


def remarks_on(info: bytes) -> list[str]:
    """Return what is worth knowing about a server, and is no mistake.

    Args:
        info: What `INFO` says; of what it doesn't say nothing is known.

    Raises:
        StoreError: The server is too old.

    """
    lines = (line.partition(":") for line in str(info, errors="replace").split("\r\n"))
    facts = {name: value for name, _, value in lines}
    _check_version(facts.get("redis_version", ""))
    policy = facts.get("maxmemory_policy", "noeviction")
    if facts.get("maxmemory", "0") == "0" or policy == "noeviction":
        return []
    return [_EVICTS.format(policy)]


def _check_version(version: str) -> None:
    parts = version.split(".")[:2]
    if len(parts) == 2 and all(map(str.isdecimal, parts)) and tuple(map(int, parts)) < _OLDEST:
        raise StoreError(f"Redis {version} is too old: limits need 6.2 or later", "version")
