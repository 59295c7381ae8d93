"""The one script that decides on the server."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files

_NEEDS = {
    "fixed_window": "windows",
    "sliding_log": "windows",
    "sliding_window_counter": "windows",
    "token_bucket": "grains",
    "leaky_bucket": "grains",
}


def _algorithm(stem: str) -> str:
    folder = files("ratelimit.algorithms")
    helper, algorithm = (folder.joinpath(f"{each}.lua") for each in (_NEEDS[stem], stem))
    return f"if kind == '{stem}' then\n{helper.read_text()}{algorithm.read_text()}end\n"


def _source() -> str:
    """Return the script. An algorithm is made when it is first asked for: few calls need two."""
    here = files("ratelimit.stores.redis")
    return "\n".join(
        [
            here.joinpath("preamble.lua").read_text(),
            f"local function make(kind)\n{''.join(map(_algorithm, _NEEDS))}end",
            here.joinpath("driver.lua").read_text(),
        ]
    )


TEXT = _source()
SHA = sha1(TEXT.encode(), usedforsecurity=False).hexdigest()
