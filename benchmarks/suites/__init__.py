"""What is measured."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.suites.base import Suite

NAMES = ("memory", "footprint", "redis", "asgi", "accuracy", "scale")


def load(name: str) -> Suite:
    """Return a suite."""
    suite: Suite = import_module(f"benchmarks.suites.{name}").SUITE
    return suite
