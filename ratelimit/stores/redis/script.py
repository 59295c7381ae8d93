"""The one script that decides on the server."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files

_HELPERS = ("windows", "grains")
_ALGORITHMS = (
    "fixed_window",
    "sliding_log",
    "sliding_window_counter",
    "token_bucket",
    "leaky_bucket",
)


def _source() -> str:
    algorithms = files("ratelimit.algorithms")
    here = files("ratelimit.stores.redis")
    return "\n".join(
        [
            here.joinpath("preamble.lua").read_text(),
            *(algorithms.joinpath(f"{stem}.lua").read_text() for stem in _HELPERS),
            *(f"do\n{algorithms.joinpath(f'{stem}.lua').read_text()}end" for stem in _ALGORITHMS),
            here.joinpath("driver.lua").read_text(),
        ]
    )


TEXT = _source()
SHA = sha1(TEXT.encode(), usedforsecurity=False).hexdigest()
