"""Rules that can be replaced while requests are served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimit.asgi.rules import checked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ratelimit.asgi.rules import Rule


class RuleBook:
    """The rules of one or more middlewares.

    States are kept by the rules' names, so what was used stays used when the rules are replaced.

    Args:
        rules: What is limited; the order makes no difference. None if there is nothing yet.

    Raises:
        TypeError: One of them is no `Rule`.
        ValueError: The list is empty, or two have one name.

    """

    def __init__(self, rules: Iterable[Rule] | None) -> None:
        self.rules: tuple[Rule, ...] = () if rules is None else checked(rules)
        """The rules as they are now; never changed, only replaced."""

    def replace(self, rules: Iterable[Rule]) -> None:
        """Replace all rules at once, for the requests that come from now on.

        Raises:
            TypeError, ValueError: As when it is made; then the rules stay as they are.

        """
        self.rules = checked(rules)
