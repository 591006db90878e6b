"""Verbs of the statement: statement, statement verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from trafficvault import attestation, wording
from trafficvault import statement as stating
from trafficvault.cli.door import AsJson, door
from trafficvault.cli.files import given
from trafficvault.cli.screen import print_lines, print_object, print_table
from trafficvault.durable import Disk
from trafficvault.errors import UsageError

statement_verbs = typer.Typer(
    invoke_without_command=True,
    help="The policy's table, and of each row whether it is true today, signed (exit code 5 when one is not).",
)


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`."""
    app.add_typer(statement_verbs, name="statement")


@statement_verbs.callback(invoke_without_command=True)
def statement(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", help="Also write it to this file, as signed JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """The policy's table, and of each row whether it is true today, signed (exit code 5 when one is not)."""
    if context.invoked_subcommand is not None:
        return
    vault = door(context).open()
    made = stating.state(vault)
    if out is not None:
        _write(vault.disk, out, json.dumps(made.as_dict(), indent=2, ensure_ascii=False) + "\n")
    if as_json:
        print_object(made.as_dict())
    else:
        columns = ("entry", "service", "kept for", "oldest held", "due", "last certificate", "verdict")
        print_table(f"statement of {wording.moment(made.body['at'], vault.policy.zone)}", columns, stating.table(made))
        print_lines(
            [
                f"{row['id']}: {reason}"
                for row in made.body["rows"]
                for reason in row["reasons"]
                if row["classes"] or row["due"]
            ]
            + made.body["reasons"]
            + ([made.body["clock"]] if made.body["clock"] else [])
        )
    made.require_true()


@statement_verbs.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="A statement, as `--out` or `--json` wrote it.")],
    public_key: Annotated[
        str, typer.Option(metavar="HEX|FILE", help="The vault's public key, or a file with it (vault.toml).")
    ],
    as_json: AsJson = False,
) -> None:
    """Check a statement's signature with the public key alone; needs no vault (exit code 5 when it was changed)."""
    key = attestation.read_public_key(given(public_key))
    try:
        found = stating.require_authentic(file.read_text(encoding="utf-8"), key)
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"checking a statement: {file.name} can't be read as text") from problem
    facts = {name: found.body[name] for name in ("vault", "at", "policy", "true")} | {"id": found.identity}
    if as_json:
        print_object({"authentic": True, **facts})
    else:
        verdict = stating.TRUE if found.body["true"] else stating.NOT_TRUE
        print_lines([f"vault {facts['vault']} signed it at {facts['at']}: {verdict}"])


def _write(disk: Disk, path: Path, text: str) -> None:
    try:
        disk.create(path, text.encode(), 0o644)
    except OSError as problem:
        raise UsageError(f"writing {path.name}: {problem.strerror}; name another file") from problem
