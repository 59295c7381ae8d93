"""Rules from a TOML file.

Every mistake is told with the line that it is on, and nothing is guessed: a word that isn't
known is refused.
"""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ratelimit.algorithms import (
    FixedWindow,
    LeakyBucket,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
)
from ratelimit.asgi.clients import client_ip
from ratelimit.asgi.identity import api_key, combined, cookie, header, path_param, user
from ratelimit.asgi.rule_book import RuleBook
from ratelimit.asgi.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ratelimit.algorithms.base import Algorithm
    from ratelimit.asgi.keys import Key

_ALGORITHMS: dict[str, type[Algorithm]] = {
    kind.__name__: kind
    for kind in (FixedWindow, SlidingLog, SlidingWindowCounter, TokenBucket, LeakyBucket)
}
_LINE = re.compile(r"\(at line ([0-9]+)")
_NUMBERS = ("burst", "capacity", "max_debt")
_KEYS: dict[str, Callable[..., Key]] = {
    "api_key": api_key,
    "client_ip": client_ip,
    "cookie": cookie,
    "header": header,
    "path_param": path_param,
    "user": user,
}
_BARE = ("api_key", "client_ip", "user")
_OPTIONS = (
    "path",
    "key",
    "methods",
    "cost",
    "when",
    "exempt",
    "unknown",
    "shadow",
    "wait",
    "jitter",
    "count_if",
    "on_denied",
    "on_error",
)


class RuleFile(RuleBook):
    """The rules of a TOML file, which can be read again without losing counts.

    Args:
        path: The file. It has a table `[rules.NAME]` for each rule.
        functions: What the file names by `{function = "NAME"}`.

    Raises:
        OSError: The file can't be read.
        ValueError: It can't be understood; the message begins with the path and the line.

    """

    def __init__(
        self, path: str | Path, *, functions: Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        self.path = Path(path)
        self._functions = dict(functions or {})
        super().__init__(self._read())

    def reload(self) -> None:
        """Read the file again, for the requests that come from now on.

        Raises:
            OSError, ValueError: As when it is made; then the rules stay as they are.

        """
        self.replace(self._read())

    def _read(self) -> list[Rule]:
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path}: a TOML file is UTF-8: {error}") from error
        return _Reader(self.path, text, self._functions).rules()


class _Reader:
    """Reads the text of a file."""

    def __init__(self, path: Path, text: str, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._path = path
        self._text = text
        self._functions = functions

    def rules(self) -> list[Rule]:
        try:
            data = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            told = _LINE.search(str(error))
            line = told[1] if told else self._text.count("\n") + 1
            raise ValueError(f"{self._path}:{line}: {error}") from error
        self._check_words(data, ("rules",), ())
        tables = data.get("rules")
        if not isinstance(tables, dict) or not tables:
            raise ValueError(f"{self._path}: there is no table [rules.NAME]")
        return [self._rule(name, table) for name, table in tables.items()]

    def _rule(self, name: str, table: object) -> Rule:
        where = ("rules", name)
        if not isinstance(table, dict):
            self._refuse(where, f"a rule is a table [rules.{name}], not {table!r}")
        algorithm = self._algorithm(where, table)
        if "key" not in table:
            self._refuse(where, f"the rule {name!r} needs a key")
        options: dict[str, Any] = {"key": "key"}
        self._try(("rules",), name, lambda: Rule(name, algorithm, **options))
        for option in _OPTIONS:
            if option in table:
                options[option] = self._value(where, option, table[option])
                self._try(where, option, lambda: Rule(name, algorithm, **options))
        return Rule(name, algorithm, **options)

    def _algorithm(self, where: tuple[str, ...], table: dict[str, Any]) -> Any:
        """Return the algorithm of a rule, or the function that chooses it."""
        said = table.get("algorithm")
        if isinstance(said, dict):
            self._check_words(table, ("algorithm", *_OPTIONS), where)
            return self._function(where, "algorithm", said)
        if not isinstance(said, str) or said not in _ALGORITHMS:
            known = ", ".join(_ALGORITHMS)
            wrong = f"an algorithm is one of {known}, not {said!r}"
            missing = f"the rule {where[-1]!r} needs an algorithm, one of {known}"
            self._refuse((*where, "algorithm"), missing if said is None else wrong)
        kind = _ALGORITHMS[said]
        numbers = [number for number in _NUMBERS if number in signature(kind).parameters]
        self._check_words(table, ("algorithm", "quota", *numbers, *_OPTIONS), where)
        if "quota" not in table:
            self._refuse(where, f'a {said} needs a quota, such as quota = "100/minute"')
        given: dict[str, Any] = {}
        for number in ("quota", *numbers):
            if number in table:
                given[number] = table[number]
                self._try(where, number, lambda: kind(**given))
        return kind(**given)

    def _value(self, where: tuple[str, ...], option: str, said: object) -> Any:
        if option == "key":
            return self._key(where, said)
        return self._function(where, option, said) if isinstance(said, dict) else said

    def _key(self, where: tuple[str, ...], said: object) -> Any:
        """Return a key; several in a list are combined."""
        if isinstance(said, list):
            parts = [self._key(where, part) for part in said]
            return self._try(where, "key", lambda: combined(*parts))
        if isinstance(said, str) and said in _BARE:
            return _KEYS[said]()
        if not isinstance(said, dict) or len(said) != 1:
            self._refuse_key(where, said)
        ((kind, argument),) = said.items()
        if kind == "function":
            return self._function(where, "key", said)
        if kind == "shared":
            return argument
        if kind not in _KEYS:
            self._refuse_key(where, said)
        make = _KEYS[kind]
        options = argument if isinstance(argument, dict) else None
        made = (lambda: make(argument)) if options is None else (lambda: make(**options))
        return self._try(where, "key", made)

    def _refuse_key(self, where: tuple[str, ...], said: object) -> NoReturn:
        bare = ", ".join(f'"{name}"' for name in _BARE)
        self._refuse(
            (*where, "key"),
            f"a key is one of {bare}, a table with one of {', '.join(_KEYS)}, shared and function, "
            f"or a list of these; not {said!r}",
        )

    def _function(self, where: tuple[str, ...], option: str, said: dict[str, Any]) -> Any:
        """Return the function that a table names."""
        name = str(said.get("function"))
        if len(said) != 1 or name not in self._functions:
            known = ", ".join(self._functions) or "none"
            self._refuse(
                (*where, option), f"a function is {{function = NAME}}, of {known}; not {said!r}"
            )
        return self._functions[name]

    def _check_words(
        self, table: Mapping[str, object], known: Iterable[str], where: tuple[str, ...]
    ) -> None:
        """Refuse what isn't known, and say what may be meant."""
        words = list(known)
        for word in table:
            if word not in words:
                close = get_close_matches(word, words, 1)
                meant = f"; do you mean {close[0]}?" if close else f"; there is {', '.join(words)}"
                self._refuse((*where, word), f"unknown: {word!r}{meant}")

    def _try(self, where: tuple[str, ...], option: str, make: Callable[[], Any]) -> Any:
        """Return what is made, or say on which line the mistake is."""
        try:
            return make()
        except (TypeError, ValueError) as error:
            message = f"{self._path}:{self._line((*where, option))}: {error}"
            raise ValueError(message) from error

    def _refuse(self, where: tuple[str, ...], message: str) -> NoReturn:
        raise ValueError(f"{self._path}:{self._line(where)}: {message}")

    def _line(self, where: tuple[str, ...]) -> int:
        """Return the line on which something is said first, or the one of the table it is in.

        The first lines of a file that can be read by themselves and say it are looked for: what
        was read without it ends on the line before.
        """
        lines = self._text.splitlines()
        before = 0
        for count in range(1, len(lines) + 1):
            try:
                data = tomllib.loads("\n".join(lines[:count]))
            except tomllib.TOMLDecodeError:
                continue
            if _says(data, where):
                return before + 1
            before = count
        return self._line(where[:-1])


def _says(data: object, where: Iterable[str]) -> bool:
    for key in where:
        if not isinstance(data, dict) or key not in data:
            return False
        data = data[key]
    return True
