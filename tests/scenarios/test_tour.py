"""What the README does by hand, done: its commands in their order, on several days, and what it prints of each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.support import PASSWORD
from tests.trafficvault.cli.commandline import CommandLine

README = Path(__file__).resolve().parents[2] / "README.md"
WRITTEN = date(2026, 11, 21)
"""The day of the README's own output, from which dates in its commands are counted."""
SECTIONS = ("## Five minutes", "### Holds", "## The life of a customer's request", "## Forgetting")
PASSWORDS = {"TRAFFICVAULT_PASSWORD": PASSWORD, "TRAFFICVAULT_NEW_PASSWORD": PASSWORD}
DAY = re.compile(r"\d{4}-\d\d-\d\d")
VARIES = re.compile(
    r"(?P<id>\b(?=[0-9a-f]*\d)[0-9a-f]{16,32}\b)|(?P<any>…)|(?P<space>\s+)|(?P<time>\b\d\d:\d\d [+-]\d\d:\d\d)"
    rf"|(?P<past>{DAY.pattern} to {DAY.pattern} \(\d+ days\) are)|(?P<day>{DAY.pattern})"
)
FORMS = {
    "any": ".*",
    "space": r"\s+",
    "time": r"\d\d:\d\d [+-]\d\d:\d\d",
    # Of a warrant's days more or fewer are past by now, with the hour and the month.
    "past": rf"{DAY.pattern}(?: to {DAY.pattern} \(\d+ days\) are| \(1 day\) is)",
    "day": DAY.pattern,
}
AMSTERDAM = ZoneInfo("Europe/Amsterdam")
MOMENTS = [
    datetime(2026, 11, 21, 18, 40, tzinfo=AMSTERDAM),
    datetime(2027, 2, 28, 0, 30, tzinfo=AMSTERDAM),
    datetime(2027, 10, 31, 2, 30, tzinfo=AMSTERDAM),
    datetime(2031, 8, 31, 23, 50, tzinfo=AMSTERDAM),
]


def steps() -> Iterator[tuple[str, str]]:
    """Each command of the README's stories, and what it says that it prints."""
    text = README.read_text("utf-8")
    for title in SECTIONS:
        section = re.split(r"\n##", text.split(f"\n{title}\n", 1)[1], maxsplit=1)[0]
        yield from re.findall(r"^    \$ (.*)\n((?:    (?!\$ ).*\n|\n)*)", section, re.MULTILINE)


def form(told: str, known: list[str]) -> str:
    """The pattern of every output that `told` may stand for; ids that it names are added to `known`, a group each."""
    lines = [line.strip() for line in told.strip().splitlines() if line.strip()]

    def free(found: re.Match[str]) -> str:
        if found["id"]:
            known.append(found["id"])
            return f"([0-9a-f]{{{len(found['id'])}}})"
        return FORMS[str(found.lastgroup)]

    def line_form(line: str) -> str:
        parts, at = [], 0
        for found in VARIES.finditer(line):
            parts += [re.escape(line[at : found.start()]), free(found)]
            at = found.end()
        return "".join([*parts, re.escape(line[at:])]) + r"\s*\n"

    return "".join("(?:.*\n)*?" if line == "…" else line_form(line) for line in lines)


class Tour:
    """A newcomer who follows the README on a day of their own."""

    def __init__(self, line: CommandLine, patch: pytest.MonkeyPatch) -> None:
        self._line, self._patch = line, patch
        self._ids: dict[str, str] = {}

    def follow(self, command: str, told: str) -> None:
        """Does what `command` says, with this day's ids and dates, and compares what it prints with `told`."""
        known: list[str] = []
        pattern = form(told, known)
        printed = "".join(self._do(shlex.split(part)) for part in command.split(" && "))
        if not pattern:
            return
        found = re.fullmatch(pattern, printed)
        assert found, f"{command}\nprinted\n{printed}\nand the README says\n{told}"
        self._ids |= zip(known, found.groups(), strict=True)

    def _do(self, words: list[str]) -> str:
        if words[0] == ".":
            return ""
        if words[0] == "cd":
            self._patch.chdir(words[1])
            return ""
        if words[0] == "ls":
            return "  ".join(sorted(path.name for path in Path(words[1]).iterdir())) + "\n"
        assert words[0] == "trafficvault"
        self._line.now += timedelta(seconds=1)
        done = self._line.bare(*self._todays(words[1:]), environment=PASSWORDS)
        assert done.code == (4 if "held or refused" in done.err else 0), done.err
        return done.out + done.err

    def _todays(self, words: list[str]) -> Iterator[str]:
        for word in words:
            if "?" in word:
                yield from sorted(map(str, Path().glob(word)))
                continue
            moved = DAY.sub(lambda found: str(self._line.now.date() + (date.fromisoformat(found[0]) - WRITTEN)), word)
            yield next((new[: len(word)] for old, new in self._ids.items() if old.startswith(word)), moved)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment:%Y-%m-%d}")
def test_the_readme_can_be_followed_on_any_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: datetime
) -> None:
    """Every command of its stories does what it says, with its counts, at whatever hour and in whatever month."""
    monkeypatch.chdir(tmp_path)
    tour = Tour(CommandLine(tmp_path, monkeypatch, moment.astimezone(ZoneInfo("UTC"))), monkeypatch)
    for command, told in steps():
        tour.follow(command, told)


def test_its_stories_are_found() -> None:
    """First and last command of each section are among those that are followed."""
    commands = "\n".join(command for command, _ in steps())
    for words in (
        "demo --files",
        "verify",
        "add hold.toml",
        "hold extend",
        "rights add",
        "batch withdraw",
        "service end",
    ):
        assert words in commands
