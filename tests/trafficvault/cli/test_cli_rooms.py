"""Which modules a verb brings along: its own, and none of those that only others need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from docs.help import help_of, verbs
from trafficvault import proposals
from trafficvault.cli import application, proposing

ROOT = Path(__file__).resolve().parents[3]
PATHS = [verb for verb in verbs() if verb != "trafficvault"]


def _verbs_of(cli: typer.Typer) -> set[str]:
    command = get_command(cli)
    assert isinstance(command, TyperGroup)
    return set(command.commands)


@pytest.mark.parametrize("verb", [path for path in PATHS if " " not in path])
def test_a_verb_is_whole_by_itself(verb: str) -> None:
    """What its modules alone tell of a verb is what all modules tell, the verbs below it included."""
    alone = application([verb])

    below = {path for path in verbs(alone) if path.split()[0] == verb}

    assert below == {path for path in PATHS if path.split()[0] == verb}
    assert all(help_of(path, alone) == help_of(path) for path in below)


@pytest.mark.parametrize(
    "words",
    [
        ["--vault", "expire", "--user=status", "warrant", "run"],
        ["--keys", "k", "--user", "init", "warrant"],
    ],
)
def test_a_value_is_no_verb(words: list[str]) -> None:
    """The value of an option that stands before the verb is not taken for one."""
    assert _verbs_of(application(words)) == {"warrant"}


@pytest.mark.parametrize("words", [[], ["--help"], ["-h", "warrant"], ["--version"], ["nosuch"], ["--vault"]])
def test_without_a_verb_there_are_all(words: list[str]) -> None:
    """No verb, an unknown one, and help before it: every verb is there to be listed."""
    assert _verbs_of(application(words)) == {path for path in PATHS if " " not in path}


def test_a_proposal_finds_who_carries_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb that approves proposals brings along all that makes them, however often it is built."""
    application([])
    everything = set(proposing.CARRIERS)
    assert {"service-end", "batch-withdraw", "policy", "hold-extend"} <= everything <= set(proposals.KINDS)
    for name in everything:
        monkeypatch.delitem(proposing.CARRIERS, name)
    application(["proposal"])
    assert set(proposing.CARRIERS) == everything


def test_a_question_imports_no_other_act() -> None:
    """`warrant` brings no schedule, no expiry and no demonstration along: a cold process waits for its imports. What
    answers, and DuckDB, come beside the sign-in; what plans, reads and proves feeds comes with no verb of this group.
    """
    program = (
        "import sys; from trafficvault.cli import application; application(['warrant']); "
        "print(*[name for name in sys.argv[1:] if name in sys.modules])"
    )
    others = [
        "apscheduler",
        "duckdb",
        "ingest.plan",
        "ingest.read",
        "pyarrow.compute",
        "pyarrow.parquet",
        "rfc3161_client",
        "rich",
        "trafficvault.blocks",
        "trafficvault.disclose",
        "trafficvault.expire",
        "trafficvault.demo",
        "trafficvault.search",
        "trafficvault.verify",
    ]

    told = subprocess.check_output([sys.executable, "-c", program, *others], text=True, cwd=ROOT)

    assert told.split() == []


@pytest.mark.parametrize("first", ["", "from queries import engine; "])
def test_a_process_that_asked_ends_without_a_word(first: str) -> None:
    """What a verb imports stays out of the collector's way to the end, and DuckDB, which comes later, has nothing to
    complain of then: also where the verb brings along, first, what keeps a database.
    """
    program = (
        f"import gc; {first}from trafficvault.cli import _started; _started(['warrant']); "
        "from queries import engine; engine._kept('1GB', 1).execute('SELECT 1').fetchall(); "
        "print(gc.get_freeze_count())"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert int(done.stdout) > 10_000
    assert done.stderr == ""


def test_words_are_read_without_pydantic() -> None:
    """What reads the words of a command line brings no library of its own along, which would take longer than Typer."""
    program = (
        "import sys; from trafficvault import cli; sys.argv = ['trafficvault', '--vault', 'nowhere', 'status']; "
        "code = cli._run(); print(code, 'pydantic' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout.split() == ["2", "False"]
