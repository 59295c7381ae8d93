"""Measure, and print tables."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import footprint, memory

SUITES = ("memory", "footprint", "async")
PEERS = ("limits", "throttled-py")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} isn't installed and is left out"


def main(arguments: list[str] | None = None) -> None:
    """Run the suites that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=", ".join(SUITES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=1_000)
    parser.add_argument("--keys", type=int, default=1_000_000)
    options = parser.parse_args(arguments)
    unknown = set(options.suites) - set(SUITES)
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    print(f"{platform.platform()}, {_processor()}, Python {platform.python_version()}")
    print(", ".join(map(_version, PEERS)))
    for suite in options.suites or SUITES:
        print()
        if suite == "memory":
            memory.report(options.rounds, options.calls)
        elif suite == "async":
            memory.report_async(options.rounds, options.calls)
        else:
            footprint.report(options.keys)


if __name__ == "__main__":
    main()
