"""In which store a rule's states are kept, by what is to happen when the store is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimit.stores.fallback import AsyncFallbackStore
from ratelimit.stores.memory import AsyncMemoryStore, MemoryStore
from ratelimit.stores.opening import open_async_store

if TYPE_CHECKING:
    from ratelimit.asgi.rules import Rule
    from ratelimit.stores.base import AsyncStore
    from ratelimit.stores.opening import OnError


class Stores:
    """One store, with another behind it for each policy that a rule has.

    Args:
        store: The store, or its URL.
        on_error: What to do while it is gone, unless a rule says something else.
        nodes: Among how many processes a limit is shared then.

    Raises:
        TypeError, ValueError, ImportError: As `open_async_store`.

    """

    def __init__(
        self, store: AsyncStore | MemoryStore | str | None, on_error: OnError, nodes: int
    ) -> None:
        self.first = open_async_store(store)
        """The store that is asked first, whatever is to happen when it is gone."""
        self._usual = on_error
        self._nodes = nodes
        self._by_policy: dict[OnError, AsyncStore] = {}
        self._with(on_error)
        self._local: AsyncStore | None = None

    def of(self, rule: Rule) -> AsyncStore:
        """Return the store of a rule.

        Raises:
            TypeError: The rule has a policy of its own, and the store has one already.

        """
        if rule.on_error is None:
            return self._with(self._usual)
        if isinstance(self.first, AsyncFallbackStore):
            raise TypeError(
                f"the store says itself what to do when it is gone: leave out the on_error "
                f"{rule.on_error!r} of the rule {rule.name!r}"
            )
        return self._with(rule.on_error)

    @property
    def local(self) -> AsyncStore:
        """A store in this process's memory: the first, if it is one."""
        if self._local is None:
            is_local = isinstance(self.first, AsyncMemoryStore)
            self._local = self.first if is_local else AsyncMemoryStore(MemoryStore())
        return self._local

    @property
    def all(self) -> tuple[AsyncStore, ...]:
        """All that were opened."""
        local = () if self._local is None else (self._local,)
        return tuple(dict.fromkeys((*self._by_policy.values(), *local)))

    async def aclose(self) -> None:
        """Close what was opened."""
        for store in self.all:
            await store.aclose()

    def _with(self, policy: OnError) -> AsyncStore:
        if policy not in self._by_policy:
            self._by_policy[policy] = open_async_store(self.first, policy, self._nodes)
        return self._by_policy[policy]
