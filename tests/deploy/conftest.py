"""What the deployment tests share: the chart's text, and whether the command line knows a command."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from absence import skip_unless_ci

from stream_allocator.cli import app

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "stream-allocator"


def needed(program: str) -> str:
    """Path of a program; without it the test is skipped, and fails under CI."""
    found = shutil.which(program) or shutil.which(program, path=str(Path.home() / "go" / "bin"))
    if found is None:
        skip_unless_ci(f"{program} is not on the PATH")
    return found


@pytest.fixture(scope="session")
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`helm template` of the chart with further arguments."""
    program = needed("helm")

    def template(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [program, "template", "release", str(CHART), "--kube-version", "1.34.0", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return template


@pytest.fixture(scope="session")
def compose_program() -> str:
    return needed("docker-compose")


@pytest.fixture(scope="session")
def is_a_command() -> Callable[[list[str]], bool]:
    """Whether the command line takes these arguments, as far as names and number go."""

    def check(arguments: list[str]) -> bool:
        command: Any = typer.main.get_command(app)
        rest = list(arguments)
        while rest and hasattr(command, "commands"):
            command = command.commands[rest.pop(0)]
        command.make_parser(command.context_class(command)).parse_args(args=rest)  # raises on what it lacks
        return True

    return check
