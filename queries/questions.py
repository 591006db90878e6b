"""The closed list of questions: reviewed SQL files, each with a header that says what it discloses and what it needs.

A file `sql/<name>.sql` is a question. Its first lines, to the first that is none of them (a bare `--`, say), are its
header, one `-- key: value` each, continued by `--` and two or more blanks:

    kind        stream (row by row, run over some days at a time) or aggregate (groups, run once)
    needs       categories without which it is refused
    also        categories it shows where the warrant covers them
    classes     the only classes it reads; left out: all
    parameters  names of its bound parameters
    derived     output columns that are computed, `name = column column; …`: left out when none of these is covered
    describes   what it discloses, in plain words

It sees two views: `records` (the rows in scope, the full record and the columns of `scope.TARGET_SCHEMA`) and `wanted`
(the targets: index, type, value, start, end). A stream looks across rows within one `answer_day` only, and puts those
days in order, so that what it says does not depend on how many days it is run over. Its digest is that of the file,
header included.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SHIPPED = Path(__file__).parent / "sql"
KINDS = ("stream", "aggregate")
CATEGORIES = frozenset({"who", "where", "when", "how_much"})

_REQUIRED = frozenset({"kind", "needs", "describes"})
_OPTIONAL = frozenset({"also", "classes", "parameters", "derived"})
_LINE = re.compile(r"--\s?([a-z]+):\s*(.*)")
_CONTINUED = re.compile(r"--\s{2,}(\S.*)")
_NAME = re.compile(r"[a-z][a-z_]*")


class QuestionError(Exception):
    """A question is not of the right form, is refused, or could not be answered. Never holds a value of a record."""


@dataclass(frozen=True, slots=True)
class Question:
    """A reviewed question. `derived` maps a computed output column to the record's columns it comes from."""

    name: str
    text: str
    digest: str
    kind: str
    needs: frozenset[str]
    also: frozenset[str]
    classes: frozenset[str]
    parameters: tuple[str, ...]
    derived: dict[str, frozenset[str]]
    describes: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one run may take and how much memory it may use (`1GB`, as DuckDB writes it)."""

    seconds: float = 60.0
    memory: str = "1GB"
    threads: int = 2


def questions(directory: Path | None = None) -> dict[str, Question]:
    """Every question of `directory`, by name; without one the shipped ones, as they were when this process first asked.

    Raises `QuestionError` for a file that is not one.
    """
    return dict(_shipped()) if directory is None else _of(directory)


@cache
def _shipped() -> dict[str, Question]:
    return _of(SHIPPED)


def _of(directory: Path) -> dict[str, Question]:
    return {path.stem: load(path) for path in sorted(directory.glob("*.sql"))}


def load(path: Path) -> Question:
    """The question in `path`. Raises `QuestionError` naming the file and what is wrong in it."""
    content = path.read_bytes()
    if not _NAME.fullmatch(path.stem):
        raise QuestionError(f"reading question {path.name}: its name must be of lower-case letters and underscores")
    text = content.decode()
    header = _header(path.name, text)
    kind = header["kind"]
    if kind not in KINDS:
        raise QuestionError(f"reading question {path.name}: kind is {kind!r}; it must be stream or aggregate")
    return Question(
        name=path.stem,
        text=text,
        digest=hashlib.sha256(content).hexdigest(),
        kind=kind,
        needs=_categories(path.name, header["needs"]),
        also=_categories(path.name, header.get("also", "")),
        classes=frozenset(_listed(header.get("classes", ""))),
        parameters=tuple(_listed(header.get("parameters", ""))),
        derived=_derived(path.name, header.get("derived", "")),
        describes=header["describes"],
    )


def _header(name: str, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if not line.startswith("-- "):
            break
        if match := _LINE.fullmatch(line):
            key = match[1]
            if key not in _REQUIRED | _OPTIONAL or key in found:
                raise QuestionError(f"reading question {name}: header line {key!r} is unknown or stands twice")
            found[key] = match[2].strip()
        elif (match := _CONTINUED.fullmatch(line)) and key:
            found[key] = f"{found[key]} {match[1].strip()}".strip()
        else:
            raise QuestionError(
                f"reading question {name}: a header line must be `-- key: value`, or go on with two blanks"
            )
    missing = sorted(key for key in _REQUIRED if not found.get(key))
    if missing:
        raise QuestionError(f"reading question {name}: its header lacks {', '.join(missing)}")
    return found


def _listed(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def _categories(name: str, value: str) -> frozenset[str]:
    named = frozenset(_listed(value))
    if unknown := sorted(named - CATEGORIES):
        raise QuestionError(f"reading question {name}: {unknown[0]!r} is not a category")
    return named


def _derived(name: str, value: str) -> dict[str, frozenset[str]]:
    found = {}
    for item in value.split(";"):
        if not item.strip():
            continue
        column, equals, sources = item.partition("=")
        if not equals or not sources.split():
            raise QuestionError(f"reading question {name}: derived takes `name = column column; …`")
        found[column.strip()] = frozenset(sources.split())
    return found
