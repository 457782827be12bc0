"""The commands that set a broker up and look at it: topics, their checks, and rights."""

from typing import Annotated

import typer
from rich.console import Console

from stream_allocator.options import Bootstrap, TopologyFile, open_topology

__all__ = ["acls", "topics_app"]

out = Console()
err = Console(stderr=True)

topics_app = typer.Typer(help="Create the topics, or check that they fit the topology.", no_args_is_help=True)

STYLES = {"error": "red", "warning": "yellow", "note": None}


@topics_app.command("create")
def topics_create(topology: TopologyFile, bootstrap: Bootstrap = None) -> None:
    """Create the topics that do not exist yet, co-partitioned; then check them all."""
    from stream_allocator.stream.topics import create

    for name in create(open_topology(topology, bootstrap)):
        out.print(f"created {name}")
    topics_check(topology, bootstrap)


@topics_app.command("check")
def topics_check(
    topology: TopologyFile,
    bootstrap: Bootstrap = None,
    role: Annotated[
        str | None, typer.Option(help="also whether this user may do what the role needs; see acls")
    ] = None,
) -> None:
    """Check that topics exist, are co-partitioned, and keep and take what is needed. Exit code 1 if not."""
    from stream_allocator.stream.checks import check

    findings = check(open_topology(topology, bootstrap), role)
    for finding in findings:
        text = f"{finding.level}: {finding.text}"
        err.print(text, style=STYLES[finding.level], highlight=False, soft_wrap=True)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)
    out.print("topics: all there, co-partitioned" if role is None else f"role {role}: topics and rights fit")


def acls(
    topology: TopologyFile,
    role: Annotated[
        str, typer.Option(help="feeder, oms, paper, worker, operator, reader, verifier or provisioner")
    ],
    principal: Annotated[str, typer.Option(help="who gets it, as the broker names it")] = "User:NAME",
    bootstrap: Bootstrap = None,
    apply: Annotated[bool, typer.Option("--apply", help="create them, instead of printing commands")] = False,
) -> None:
    """Print the ACLs that give a user a role and no more, as kafka-acls commands; or create them."""
    from stream_allocator.stream.acls import grant
    from stream_allocator.stream.roles import commands, role_named

    loaded, chosen = open_topology(topology, bootstrap), role_named(role)
    if apply:
        out.print(f"{principal}: {grant(loaded, chosen, principal)} ACLs of role {role}")
    else:
        for command in commands(loaded, chosen, principal):
            print(command)
