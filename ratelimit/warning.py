"""Tell what is probably set up wrong, by a code that never changes.

Each code has a logger of its own, so that one is silenced as any logger is, and a section in
`docs/reference/warnings.md`. Whoever tells it does so once.
"""

from __future__ import annotations

import logging

FORWARDED = "RL001"
"""A proxy tells whom it speaks for, and nobody reads it."""
ONE_ADDRESS = "RL002"
"""All callers have one address."""
WORKERS = "RL003"
"""Several processes count for themselves."""
TWICE = "RL004"
"""A limit is applied to a request twice."""
SINGLE_ADDRESSES = "RL005"
"""Whoever has a network of IPv6 addresses has as many limits."""
MADE_ANEW = "RL006"
"""A limiter doesn't live as long as what it counts."""
EVICTING = "RL007"
"""The server forgets what was used."""
UNFIT = "RL008"
"""The server can't keep states."""

CODES = (FORWARDED, ONE_ADDRESS, WORKERS, TWICE, SINGLE_ADDRESSES, MADE_ANEW, EVICTING, UNFIT)

_LOGGER = "ratelimit.warnings"


def warn(code: str, message: str, *args: object) -> None:
    """Log what is wrong and how to mend it, behind the code."""
    text = f"{code}: {message} (docs/reference/warnings.md#{code.lower()})"
    logging.getLogger(f"{_LOGGER}.{code}").warning(text, *args, extra={"ratelimit_code": code})
