"""Who is charged."""

from __future__ import annotations

from inspect import isawaitable, iscoroutinefunction, isroutine
from typing import TYPE_CHECKING, Any

from ratelimit.asgi.keys import Key, checked, hashed, header_name, text
from ratelimit.asgi.paths import routed_path

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ratelimit.asgi.paths import Path
    from ratelimit.asgi.protocol import Scope


def header(name: str) -> Key:
    """Charge the value of a request header.

    A client can send any value, and have a limit of its own for each: charge a header that is
    checked before, or limit the address as well. Values longer than 128 bytes are hashed. If the
    header comes more than once, nobody can be told: the application might read another one.

    Raises:
        TypeError: `name` is no `str`.
        ValueError: `name` can't be a header's name.

    """
    lower = header_name(name)

    def key(scope: Scope) -> str | None:
        value = _only(scope, lower.encode())
        return text(f"header:{lower}", value) if value else None

    return key


def api_key(name: str = "authorization") -> Key:
    """Charge an API key, hashed, so that neither the store nor a log has the key itself.

    The scheme of `Authorization` is read in any case, so that `Bearer` and `bearer` are the same.

    Args:
        name: The header that has the key.

    Raises:
        TypeError, ValueError: As `header`.

    """
    lower = header_name(name)

    def key(scope: Scope) -> str | None:
        value = _only(scope, lower.encode())
        if value and lower == "authorization":
            scheme, _, rest = value.partition(b" ")
            value = scheme.lower() + b" " + rest.strip(b" ")
        return hashed(f"key:{lower}", value) if value else None

    return key


def cookie(name: str) -> Key:
    """Charge the value of a cookie, hashed, as it may well be a secret.

    A client can send any value: charge a cookie that is checked before, or limit the address as
    well. If it comes with several values, nobody can be told.

    Raises:
        TypeError: `name` is no `str`.
        ValueError: `name` can't be a cookie's name.

    """
    wanted = checked(name, "a cookie").encode()

    def key(scope: Scope) -> str | None:
        values = {
            value.strip(b' \t"')
            for field, line in scope["headers"]
            if field == b"cookie"
            for each, _, value in (pair.partition(b"=") for pair in line.split(b";"))
            if each.strip(b" \t") == wanted
        }
        value = values.pop() if len(values) == 1 else b""
        return hashed(f"cookie:{name}", value) if value else None

    return key


class PathParam:
    """A parameter of the path: the key that `path_param` returns."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, scope: Scope) -> str | None:
        """Return the key of a request whose route was found."""
        value = scope.get("path_params", {}).get(self.name)
        return None if value is None else self._of(str(value))

    def bound_to(self, path: Path | None) -> Key:
        """Return the key for a rule with this path.

        Raises:
            ValueError: The path has no such parameter.

        """
        if path is None or self.name not in path.convertors:
            where = "a rule without a path" if path is None else f"the path {path.text!r}"
            raise ValueError(f"{where} has no parameter {self.name!r}")

        def key(scope: Scope) -> str | None:
            value = path.parameter(routed_path(scope), self.name)
            return self._of(value) if value else None

        return key

    def _of(self, value: str) -> str:
        return text(f"path:{self.name}", value.encode("utf-8", "surrogatepass"))


def path_param(name: str) -> PathParam:
    """Charge a parameter of the path, such as a tenant's name.

    In a rule it is one of the rule's own `path`; after routing it is one of the route's. A value
    is charged in one form: `007` of `{id:int}` is `7`. Clients can often choose it: limit the
    address as well.

    Raises:
        TypeError: `name` is no `str`.
        ValueError: `name` can't be a parameter's name.

    """
    return PathParam(checked(name, "a parameter"))


def user(attribute: str = "identity") -> Key:
    """Charge the user that an authentication middleware outside has put into the scope.

    Args:
        attribute: What tells users apart, such as `"identity"`, `"id"` or `"username"`.

    Raises:
        TypeError: `attribute` is no `str`.
        ValueError: `attribute` can't be an attribute's name.

    """
    checked(attribute, "an attribute")

    def key(scope: Scope) -> str | None:
        who = scope.get("user")
        if who is None or not who.is_authenticated:
            return None
        value = getattr(who, attribute)
        name = "" if value is None else str(value)
        return text("user", name.encode("utf-8", "surrogatepass")) if name else None

    return key


class Combined:
    """Several keys as one: what `combined` returns."""

    __slots__ = ("_awaits", "parts")

    def __init__(self, parts: tuple[Key, ...]) -> None:
        self.parts = parts
        self._awaits = any(map(awaits, parts))

    def bound_to(self, path: Path | None) -> Key:
        """Return the key for a rule with this path.

        Raises:
            ValueError: The path lacks a parameter that is charged.

        """
        return Combined(tuple(bound(part, path) for part in self.parts))

    def __call__(self, scope: Scope) -> str | Awaitable[str | None] | None:
        """Return the key of a request."""
        return self._later(scope) if self._awaits else self._now(scope)

    def _now(self, scope: Scope) -> str | None:
        texts: list[Any] = [part(scope) for part in self.parts]
        return _joined(texts)

    async def _later(self, scope: Scope) -> str | None:
        texts: list[Any] = []
        for part in self.parts:
            said = part(scope)
            texts.append(await said if isawaitable(said) else said)
        return _joined(texts)


def combined(*parts: Key) -> Combined:
    """Charge several keys together, such as each user of each tenant.

    The parts can't run into each other: `a` and `bc` are not `ab` and `c`. If one of them can't
    be told, none can.

    Raises:
        TypeError: A part is no function.
        ValueError: There are fewer than two.

    """
    if len(parts) < 2:
        raise ValueError("combined takes two keys or more")
    for part in parts:
        if not callable(part):
            raise TypeError(f"a key is a function of the scope, such as client_ip(), not {part!r}")
    return Combined(parts)


def bound(key: Key, path: Path | None) -> Key:
    """Return a key for a rule with this path.

    Raises:
        ValueError: The path lacks a parameter that is charged.

    """
    return key.bound_to(path) if isinstance(key, PathParam | Combined) else key


def awaits(function: object) -> bool:
    """Say whether what a function returns has to be awaited."""
    if isinstance(function, Combined):
        return function._awaits
    return iscoroutinefunction(function if isroutine(function) else type(function).__call__)


def _joined(texts: list[str | None]) -> str | None:
    parts = [text for text in texts if text]
    if len(parts) < len(texts):
        return None
    return "".join(f"{len(part)}:{part}" for part in parts)


def _only(scope: Scope, name: bytes) -> bytes | None:
    """Return the value of a header that comes once."""
    values = [value for field, value in scope["headers"] if field == name]
    return values[0] if len(values) == 1 else None
