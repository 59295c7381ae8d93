"""Measure what is asked for, in a process of a peer's own environment."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks import peers, suites


def versions(name: str) -> dict[str, str]:
    """Return the versions of a peer's packages here; those that aren't there are left out."""
    found = {}
    for package in peers.load(name).packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def answer(request: dict[str, Any]) -> dict[str, object]:
    """Do what a request asks for."""
    if "versions" in request:
        return {"versions": versions(str(request["versions"]))}
    suite = suites.load(str(request["suite"]))
    try:
        return {"sample": suite.sample(request["labels"], request["size"], request["url"])}
    except Exception as error:
        return {"error": _told(error)}


def _told(error: BaseException) -> str:
    """Return what went wrong; of several tasks, what went wrong first."""
    if isinstance(error, BaseExceptionGroup):
        return _told(error.exceptions[0])
    return (
        str(error)[:300]
        if type(error) is RuntimeError
        else f"{type(error).__name__}: {error}"[:300]
    )


def main() -> None:
    """Answer line by line; what a library prints goes to where errors go."""
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=replies, flush=True)


if __name__ == "__main__":
    main()
