"""The commands on the schemas of a source tree."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from stream_allocator.options import TopologyFile

__all__ = ["schemas_app"]

schemas_app = typer.Typer(help="Check, write and release the schemas of a source tree.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option(help="the source tree's schemas/")]


@schemas_app.command("check")
def schemas_check(folder: Folder = Path("schemas")) -> None:
    """Check generated files, classes against schemas, and backward compatibility. Exit code 1 if not."""
    from stream_allocator.contracts import check

    problems = check(folder)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise typer.Exit(1)
    print("schemas: generated files current, all versions readable")


@schemas_app.command("write")
def schemas_write(folder: Folder = Path("schemas")) -> None:
    """Generate the JSON Schemas of policy and topology."""
    from stream_allocator.contracts import GENERATED, generate

    for name, model in GENERATED.items():
        (folder / name).write_text(generate(model), "utf-8")
        print(f"wrote {folder / name}")


@schemas_app.command("register")
def schemas_register(topology: TopologyFile) -> None:
    """Publish the shipped schemas in the topology's registry; those that are there stay as they are."""
    from stream_allocator.registry import register
    from stream_allocator.topology import load_topology

    for subject, number in register(load_topology(topology)).items():
        print(f"{subject}: id {number}")


@schemas_app.command("release")
def schemas_release(folder: Folder = Path("schemas")) -> None:
    """Publish changed Avro schemas as their next version; refuses incompatible changes."""
    from stream_allocator.contracts import release

    for path in release(folder):
        print(f"released {path}")
