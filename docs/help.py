"""Writes what the documentation repeats of the code, behind markers. `make help-text` runs it; a test compares.

In README.md a line `<!-- help: VERB -->` (`<!-- help: warrant run -->`; the command itself is `trafficvault`) stands
before a fenced block with the help text of that verb. In FORMAT.md the lines `<!-- columns -->` and `<!-- /columns -->`
enclose the table of the record's columns. Only those blocks are written; where each stands is the document's.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from unittest.mock import patch

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ingest.record import COLUMNS
from trafficvault.cli import application

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
FORMAT = ROOT / "trafficvault" / "FORMAT.md"
COMMAND = "trafficvault"
APP = application()
"""The whole command line."""
# Made of the signatures of every verb, which takes longer than a page of help does.
_tree = cache(get_command)
_BLOCK = re.compile(
    r"^<!-- help: (?P<verb>[a-z -]+) -->\n(?:\n?```text\n(?P<text>.*?)```\n)?", re.MULTILINE | re.DOTALL
)
_TABLE = re.compile(r"(?<=<!-- columns -->\n).*?(?=<!-- /columns -->)", re.DOTALL)


def verbs(cli: typer.Typer = APP) -> tuple[str, ...]:
    """Every verb, groups included, in the order `--help` lists them; the command itself first."""
    return (COMMAND, *_names(_tree(cli), ""))


@cache
def help_of(verb: str, cli: typer.Typer = APP) -> str:
    """What `trafficvault VERB --help` prints on a terminal of 80 columns or more."""
    words = [] if verb == COMMAND else verb.split()
    page = io.StringIO()
    # Not typer's CliRunner: it makes lines two columns longer than a terminal gets them.
    with patch.dict(os.environ, COLUMNS="80"), redirect_stdout(page):
        _tree(cli).main([*words, "--help"], prog_name=COMMAND, standalone_mode=False)
    return "\n".join(line.rstrip() for line in page.getvalue().strip().splitlines()) + "\n"


def written(text: str) -> dict[str, str]:
    """The help text behind each marker of `text`; empty where no block follows."""
    return {found["verb"]: found["text"] or "" for found in _BLOCK.finditer(text)}


def rewritten(text: str, cli: typer.Typer = APP) -> str:
    """`text` with the block behind each marker as it must be. Raises `ValueError` for a marker of no verb."""
    known = verbs(cli)

    def block(found: re.Match[str]) -> str:
        verb = found["verb"]
        if verb not in known:
            raise ValueError(f"writing the help text of {verb}: there is no such verb; take its marker out")
        return f"<!-- help: {verb} -->\n```text\n{help_of(verb, cli)}```\n"

    return _BLOCK.sub(block, text)


def columns() -> str:
    """The record's columns as a Markdown table: name, Arrow type, category, meaning."""
    rows = [f"| `{item.name}` | `{item.type}` | {item.category} | {item.meaning} |" for item in COLUMNS]
    return "\n".join(["| column | type | category | meaning |", "|---|---|---|---|", *rows, ""])


def main() -> int:
    """Rewrites README.md and FORMAT.md; tells which verbs have no marker (exit code 1 when there are any)."""
    form = FORMAT.read_text(encoding="utf-8")
    FORMAT.write_text(_TABLE.sub(lambda found: columns(), form), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    README.write_text(rewritten(text), encoding="utf-8")
    missing = [verb for verb in verbs() if verb not in written(text)]
    for verb in missing:
        print(f"<!-- help: {verb} -->", file=sys.stderr)
    if missing:
        print(f"{README.name} lacks these {len(missing)} markers", file=sys.stderr)
    return 1 if missing else 0


def _names(command: object, before: str) -> Iterator[str]:
    if not isinstance(command, TyperGroup):
        return
    for name, child in command.commands.items():
        if not child.hidden:
            yield f"{before}{name}"
            yield from _names(child, f"{before}{name} ")


if __name__ == "__main__":
    sys.exit(main())
