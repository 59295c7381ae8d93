"""Where peers are installed: a virtual environment for each dependency group."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".venv-peers"
PATIENCE = 300
"""The seconds that an installation may take."""


def requirements(group: str) -> list[str]:
    """Return what a dependency group of pyproject.toml pins."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pinned: list[str] = project["dependency-groups"][group]
    return pinned


def python_of(group: str) -> Path:
    """Return the interpreter of a group's environment, which may not be there yet."""
    return FOLDER / group / "bin" / "python"


def install(group: str) -> None:
    """Make a group's environment, unless it has what is pinned already.

    Raises:
        OSError: The environment can't be made.
        subprocess.SubprocessError: It can't be installed, or that takes too long.

    """
    wanted = "\n".join(requirements(group))
    stamp = FOLDER / group / "installed.txt"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    venv.create(FOLDER / group, with_pip=True, clear=True)
    pip = [str(python_of(group)), "-m", "pip", "install", "--disable-pip-version-check"]
    subprocess.run([*pip, "-qq", *wanted.split()], check=True, stderr=sys.stderr, timeout=PATIENCE)
    stamp.write_text(wanted, encoding="utf-8")
