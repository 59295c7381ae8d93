"""What type checkers say to users: the types that they get, and the mistakes that they make."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Complaint = tuple[str, int, str]
    """A page's name, the number of the line, and the checker's code."""

ROOT = Path(__file__).parent.parent
PAGES = sorted(ROOT.glob("tests/typing/*.py"))
MYPY = ("mypy", "--strict", "--config-file=", "--cache-dir=.mypy_cache/typing", "--output=json")


def said_by(*command: str) -> str:
    """Return what a checker prints, run as a module from the root."""
    command = (sys.executable, "-m", *command)
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.stderr == ""
    return run.stdout


def mypy() -> set[Complaint]:
    """Return what mypy complains of, at its strictest."""
    complaints = map(json.loads, said_by(*MYPY, *map(str, PAGES)).splitlines())
    return {
        (Path(each["file"]).name, each["line"], each["code"])
        for each in complaints
        if each["severity"] == "error"
    }


def pyright() -> set[Complaint]:
    """Return what pyright complains of, as it comes with basedpyright."""
    said: dict[str, Any] = json.loads(
        said_by("basedpyright", "--pythonpath", sys.executable, "--outputjson")
    )
    return {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1, each["rule"])
        for each in said["generalDiagnostics"]
        if each["severity"] == "error"
    }


def marked() -> set[Complaint]:
    """Return what the pages say that they are refused for."""
    return {
        (page.name, number, code)
        for page in PAGES
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        for code in line.partition("  # refused: ")[2].split()
    }


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_checker_refuses_what_is_marked_and_nothing_else(
    checker: Callable[[], set[Complaint]],
) -> None:
    """Each mistake is told at its line, and what is right has the type that is asserted."""
    by_pyright = checker is pyright
    expected = {each for each in marked() if each[2].startswith("report") == by_pyright}
    assert expected == checker()
