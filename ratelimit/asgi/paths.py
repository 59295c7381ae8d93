"""Which paths a rule is for.

Starlette's routes end with `$`, which a line feed may follow: `/search%0A` is answered by the
route `/search`, so it counts as that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimit.asgi.protocol import Scope

Slashes = Literal["exact", "merged"]
"""How a router takes slashes: as they are, or without those that are too many."""

_PARAMETER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?\}", re.ASCII)
_CONVERTORS = {
    "str": r"[^/]+",
    "path": r".*",
    "int": r"[0-9]+",
    "float": r"[0-9]+(?:\.[0-9]+)?",
    "uuid": r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}",
}


class Path:
    """A path, a prefix that ends at a segment, or a pattern with parameters.

    Args:
        text: `"/search"` is that path alone; `"/api/*"` is `/api` and all below it;
            `"/items/{id:int}"` has a parameter, of `str`, `path`, `int`, `float` or `uuid`, as in
            Starlette's routes.

    Raises:
        TypeError: It is no `str`.
        ValueError: It doesn't start with a slash, or a part of it can't be understood.

    """

    __slots__ = ("_pattern", "convertors", "matches", "text")

    matches: Callable[[str], object]
    """Say whether a path is meant; true or false."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a path is a str, not {type(text).__name__}: {text!r}")
        if not text.startswith("/"):
            raise ValueError(f"a path starts with a /, not {text[:80]!r}")
        self.text = text
        self.convertors: dict[str, str] = {}
        """What each parameter converts, by name."""
        self._pattern = re.compile(self._expression(text))
        plain = not self.convertors and "*" not in text
        self.matches = {text, f"{text}\n"}.__contains__ if plain else self._pattern.fullmatch

    def parameter(self, path: str, name: str) -> str | None:
        """Return a parameter of a path, in the one form that its aliases share."""
        match = self._pattern.fullmatch(path)
        return None if match is None else canonical(match[name], self.convertors[name])

    def _expression(self, text: str) -> str:
        """Return the path as a regular expression."""
        body, below = text.removesuffix("/*"), text.endswith("/*")
        parts, end = [], 0
        for match in _PARAMETER.finditer(body):
            parts += [self._literal(body[end : match.start()]), self._group(*match.groups("str"))]
            end = match.end()
        parts.append(self._literal(body[end:]))
        return "".join(parts) + (r"(?s:/.*)?\n?" if below else r"\n?")

    def _literal(self, text: str) -> str:
        if "*" in text or "{" in text or "}" in text:
            raise ValueError(
                f"a path is exact, ends with /* for all below it, or has parameters such as "
                f"{{id}} or {{id:int}}: {self.text[:80]!r} is none of these"
            )
        return re.escape(text)

    def _group(self, name: str, convertor: str) -> str:
        if convertor not in _CONVERTORS:
            raise ValueError(
                f"a parameter is one of {', '.join(_CONVERTORS)}, not {convertor!r}: {self.text!r}"
            )
        if name in self.convertors:
            raise ValueError(f"two parameters of {self.text!r} have the name {name!r}")
        self.convertors[name] = convertor
        return f"(?P<{name}>{_CONVERTORS[convertor]})"


def canonical(value: str, convertor: str) -> str:
    """Return a parameter's value in one form: `007` is the item `7`, however it is written."""
    if convertor == "uuid":
        return value.replace("-", "").lower()
    if convertor == "float" and "." in value:
        value = value.rstrip("0").removesuffix(".")
    if convertor in ("int", "float"):
        return value.lstrip("0") or "0"
    return value


def routed_path(scope: Scope) -> str:
    """Return the path that the application routes by: without its root path."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        path = path[len(root) :]
    return path or "/"


def merged(scope: Scope) -> Scope:
    """Return a scope whose path has no slash twice, and none at its end."""
    path = "/" + "/".join(filter(None, scope["path"].split("/")))
    return scope if path == scope["path"] else {**scope, "path": path}
