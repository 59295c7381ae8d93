"""The command line."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ratelimit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit status.

    Args:
        arguments: What follows the program's name; the process's own if not given.

    Returns:
        0 if all went well, 1 if not.

    Raises:
        SystemExit: The arguments are wrong, or help was asked for.

    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except KeyboardInterrupt:
        return 0
    except ImportError as error:
        mend = f'pip install "exact-ratelimit[{options.extra}]"'
        return _fail(f"the {options.command} lacks a library: {mend} ({error})")
    except (StoreError, OSError, ValueError) as error:
        return _fail(str(error))
    return status


def _demo(options: argparse.Namespace) -> int:
    from ratelimit import demo

    limited = demo.run(options.store, options.port, once=options.once)
    return 0 if limited else 1


def _bench(options: argparse.Namespace) -> int:
    from ratelimit import bench

    bench.run(options.store, quick=options.quick)
    return 0


def _fail(message: str) -> int:
    print(f"ratelimit: {message}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ratelimit", description="Rate limits that are exact.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_demo(commands)
    _add_bench(commands)
    return parser


def _add_demo(commands: Commands) -> None:
    demo = commands.add_parser(
        "demo",
        help="show every algorithm at work, over real HTTP",
        description="Serve one endpoint for each algorithm, limit real requests to them, "
        "show the answers, and go on serving until Ctrl-C.",
    )
    demo.set_defaults(run=_demo, extra="demo")
    demo.add_argument("--once", action="store_true", help="end after the table")
    _add_store(demo)
    demo.add_argument(
        "--port",
        type=_port,
        metavar="N",
        help="where to listen, 0 for any free port (by default 8000 if that is free)",
    )


def _add_bench(commands: Commands) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure what a decision costs here",
        description="Time decisions of every algorithm, allowed and denied, beside a floor that "
        "no limiter can go below.",
    )
    bench.set_defaults(run=_bench, extra="redis")
    bench.add_argument("--quick", action="store_true", help="a tenth of the time, and more noise")
    _add_store(bench)


def _add_store(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--store",
        default="memory://",
        metavar="URL",
        help="where states are kept: memory:// (the default) or redis://...",
    )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)
