"""The contract that every verb shares: exit codes, `--json`, the environment, and what an error may say."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support import PASSWORD, SUBSCRIBER, Usage, new_vault, usage
from tests.trafficvault.cli.commandline import CommandLine
from tests.trafficvault.prepared_vault import Prepared
from trafficvault import __version__, intake, locks
from trafficvault.cli import keeping
from trafficvault.clock import SystemClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.steadfast import Attempts

ROOT = Path(__file__).resolve().parents[3]


def test_it_tells_its_version(nowhere: CommandLine) -> None:
    """`--version` prints name and version, and needs no vault."""
    done = nowhere.bare("--version")
    assert (done.code, done.out) == (0, f"trafficvault {__version__}\n")


@pytest.mark.parametrize("words", [(), ("warrant",), ("nosuch",), ("--nosuch",), ("ingest", "mvno_pipe", "missing")])
def test_a_command_of_the_wrong_form_is_usage(nowhere: CommandLine, words: tuple[str, ...]) -> None:
    """No verb, an unknown one, an unknown option and a file that isn't there are exit code 2."""
    assert nowhere.bare(*words).code == 2


def test_without_a_vault_it_says_how_to_make_one(nowhere: CommandLine) -> None:
    """A verb on a directory without a vault is exit code 2, with a hint, on stderr alone."""
    for verb in ("status", "expire"):
        done = nowhere(verb)
        assert (done.code, done.out) == (2, "")
        assert "there is none" in done.err
        assert "hint: name it with --vault DIR, or make one with `init`" in done.err


def test_vault_and_keys_come_from_the_environment_too(line: CommandLine) -> None:
    """TRAFFICVAULT_VAULT and TRAFFICVAULT_KEYS name the directories; keys are `<vault>.keys` unless they are named."""
    by_name = {"TRAFFICVAULT_VAULT": str(line.layout.vault)}
    assert line.bare("audit", "verify", environment=by_name).code == 0
    elsewhere = line.layout.keys.rename(line.directory / "elsewhere")
    assert line.bare("audit", "verify", environment=by_name).code != 0
    assert line.bare("audit", "verify", environment={**by_name, "TRAFFICVAULT_KEYS": str(elsewhere)}).code == 0


def test_an_option_beats_the_environment(line: CommandLine) -> None:
    """What is typed before the verb counts more than what the environment says."""
    wrong = {"TRAFFICVAULT_VAULT": "/nowhere", "TRAFFICVAULT_KEYS": "/nowhere.keys"}
    assert line("audit", "verify", environment=wrong).code == 0


VERBS: dict[str, tuple[str | None, set[str], tuple[str, ...]]] = {
    "policy show": (None, {"entries"}, ("entries",)),
    "config check": (None, {"faults"}, ("faults",)),
    "feeds": (None, {"feeds"}, ("feeds",)),
    "feeds test": (None, {"feeds"}, ("feeds",)),
    "sources": (None, {"sources"}, ("sources",)),
    "sources gaps": (None, {"gaps"}, ("gaps",)),
    "batch list": (None, {"receipts"}, ("receipts",)),
    "batch show COMMITTED": (None, {"batch_id", "feed", "source", "file", "sha256", "status", "read"}, ()),
    "ingest mvno_pipe FILE": (None, {"receipts"}, ("receipts",)),
    "feeds check mvno_pipe FILE": (None, {"status", "counts", "dropped", "content", "reason"}, ("dropped", "content")),
    "user list": (None, {"users"}, ("users",)),
    "user add gerda --role auditor": ("ada", {"name", "roles"}, ("roles",)),
    "warrant check ORDER": (None, {"sentences"}, ("sentences",)),
    "warrant add ORDER": ("olga", {"warrant_id"}, ()),
    "warrant list": ("olga", {"warrants"}, ("warrants",)),
    "warrant show WARRANT": ("aukje", {"warrant_id", "state", "digest", "document"}, ()),
    "warrant run WARRANT --question activity --out OUT": (
        "olga",
        {"disclosure_id", "package", "records", "complete"},
        (),
    ),
    "batch accept HELD": ("otto", {"receipts"}, ("receipts",)),
    "expire --dry-run": (None, {"plan"}, ("plan",)),
    "expire": (None, {"certificates"}, ("certificates",)),
    "verify": (None, {"faults", "checked"}, ("faults",)),
    "status": (None, {"vault", "classes", "attention", "wrong"}, ("classes", "attention", "wrong")),
    "audit show": ("aukje", {"entries"}, ("entries",)),
    "audit verify": (None, {"entries", "faults"}, ("faults",)),
}
"""Every verb that prints: who acts, names that its object has, and those of its lists."""


@pytest.mark.parametrize("verb", VERBS)
def test_json_is_one_object_and_nothing_else(line: CommandLine, prepared: Prepared, verb: str) -> None:
    """With `--json` a verb prints one object, its lists under their plural, and no progress anywhere."""
    user, names, lists = VERBS[verb]
    meant: dict[str, object] = {
        "FILE": line.file("S4PGWM000004", usage([Usage(at="20261113120000")])),
        "ORDER": line.file("order.toml", ORDER),
        "OUT": line.directory / "package",
        "WARRANT": prepared.warrant,
        "COMMITTED": prepared.committed,
        "HELD": prepared.held,
    }
    words = [meant.get(word, word) for word in verb.split()]
    done = line(*words, "--json", user=user, environment={"TRAFFICVAULT_NEW_PASSWORD": PASSWORD})

    assert (done.code, done.err) == (0, "")
    assert names <= done.object.keys()
    assert all(isinstance(done.object[name], list) for name in lists)


@pytest.mark.parametrize("verb", VERBS)
def test_without_json_it_prints_for_people(line: CommandLine, prepared: Prepared, verb: str) -> None:
    """The same verb without `--json` prints a table or a sentence, and again nothing on stderr."""
    user = VERBS[verb][0]
    meant: dict[str, object] = {
        "FILE": line.file("S4PGWM000004", usage([Usage(at="20261113120000")])),
        "ORDER": line.file("order.toml", ORDER),
        "OUT": line.directory / "package",
        "WARRANT": prepared.warrant,
        "COMMITTED": prepared.committed,
        "HELD": prepared.held,
    }
    words = [meant.get(word, word) for word in verb.split()]
    done = line(*words, user=user, environment={"TRAFFICVAULT_NEW_PASSWORD": PASSWORD})

    assert (done.code, done.err) == (0, "")
    assert done.out.strip()
    assert not done.out.startswith("{")


ORDER = """
reference = "PV-2026-000999"
kind = "produce"
authority = "om-oost-brabant"
legal_basis = "126n Sv"
received = 2026-11-20T09:14:00+01:00
judge = "RC-2026-0417"
categories = ["who", "when"]
questions = ["activity"]
[[targets]]
type = "msisdn"
value = "+31612345678"
from = 2026-11-01T00:00:00+01:00
to = 2026-11-20T00:00:00+01:00
"""


def test_an_internal_error_tells_its_place_and_no_value(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw may hold a record's value in its text: exit code 1 tells type and place alone."""

    def broken(vault: object) -> None:
        raise ValueError(f"no such subscriber: {SUBSCRIBER}")

    monkeypatch.setattr(intake, "batches", broken)
    done = line("batch", "list")

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("trafficvault: internal error: ValueError at test_cli_main.py:")
    assert SUBSCRIBER not in done.err


@pytest.mark.parametrize(("number", "code"), [(errno.EIO, 1), (errno.ENOSPC, 7)])
def test_when_the_log_cant_be_written_nothing_leaves(
    line: CommandLine, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    """A disk that fails, or is full, before the intent is in the log: exit code 1 or 7, and no package."""

    def failing(disk: Disk, path: Path, content: bytes, mode: int = 0o600) -> None:
        raise OSError(number, os.strerror(number))

    run = ("warrant", "run", prepared.warrant, "--question", "activity", "--out", line.directory / "package")
    with monkeypatch.context() as patch:
        patch.setattr(Disk, "append", failing)
        done = line(*run, user="olga")
        assert (done.code, done.out) == (code, "")
        assert "writing the audit log: " in done.err
        assert not (line.directory / "package").exists()
    assert line("audit", "verify").code == 0
    assert line(*run, user="olga").code == 0


def test_another_writer_is_busy(line: CommandLine) -> None:
    """While another handle has the lock, what writes is exit code 8 and names its process; what reads goes on."""
    file = line.file("S4PGWM000004", usage([Usage()]))
    with locks.writing(line.layout):
        done = line("ingest", "mvno_pipe", file)
        assert done.code == line("expire").code == 8
        assert f"process {os.getpid()} is writing" in done.err
        assert line("status").code == 0
    assert line("ingest", "mvno_pipe", file).code == 0


def test_below_min_free_nothing_is_taken_in(line: CommandLine) -> None:
    """With less free space than the policy's `min_free`, ingest is exit code 7, stores nothing and leaves the file."""
    policy = line.layout.policy
    policy.write_text(policy.read_text().replace('min_free = "1GiB"', 'min_free = "900000GiB"'))
    file = line.file("S4PGWM000004", usage([Usage()]))
    before = line("batch", "list", "--json").object
    done = line("ingest", "mvno_pipe", file, "--json")

    assert (done.code, done.out) == (7, "")
    assert "the file stays where it is" in done.err
    assert file.exists()
    assert line("batch", "list", "--json").object == before
    assert line("expire").code == 0


def test_a_clock_that_jumped_is_for_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the machine's own clock, a vault that was last used in 2020 isn't emptied: exit code 6, and how to go on."""
    new_vault(tmp_path, now=datetime(2020, 1, 1, tzinfo=UTC)).catalogue.close()
    line = CommandLine(tmp_path, monkeypatch, SystemClock().now())
    for words in (("expire",), ("expire", "--dry-run")):
        done = line(*words)
        assert done.code == 6
        assert "nothing was expired" in done.err
        assert "--accept-clock" in done.err


def test_a_reader_that_goes_away_is_no_failure(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that broke while the verb printed is exit code 0, without a word."""

    def broken(lines: object) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr(keeping, "print_lines", broken)
    done = line("audit", "verify")
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (OSError(errno.ENOSPC, "no space"), 7, "the disk is full; nothing is half done: free space and do it again"),
        (OSError(errno.EIO, SUBSCRIBER), 1, "read or written: Input/output error; see that its disk is sound"),
        (OSError(SUBSCRIBER), 1, "carrying out the command (test_cli_main.py:"),
    ],
)
def test_what_stops_a_verb_from_outside(
    line: CommandLine, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    """A person's Ctrl-C, a full disk and a failing one have exit codes of their own, and show no value."""

    def stopped(vault: object) -> None:
        raise error

    monkeypatch.setattr(intake, "batches", stopped)
    done = line("batch", "list")
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert SUBSCRIBER not in done.err


def test_what_failed_beside_an_error_is_told(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several parts of an act that failed each has its line, between the first and what to do."""

    def failed(vault: object) -> None:
        attempts = Attempts()
        for problem in (FaultError("one", hint="look"), FaultError("two"), OSError(errno.EIO, SUBSCRIBER)):
            with attempts.one("trimming a day"):
                raise problem
        attempts.require_done()

    monkeypatch.setattr(intake, "batches", failed)
    done = line("batch", "list")
    assert (done.code, done.out) == (FaultError.exit_code, "")
    first, *beside, hint = done.err.splitlines()
    assert (first, beside[0], hint) == ("trafficvault: one", "beside it: two", "hint: look")
    assert beside[1].startswith("beside it: trimming a day: a file could not be read or written: Input/output error;")


def test_a_pipe_that_breaks_at_the_end_is_no_failure(line: CommandLine) -> None:
    """A real process whose few lines only meet the broken pipe when it ends says nothing, and exits 0."""
    words = [sys.executable, "-m", "trafficvault", "--vault", str(line.layout.vault), "audit", "verify"]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    with subprocess.Popen(words, cwd=ROOT, env=buffered, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        code = process.wait(timeout=60)
    assert (code, said) == (0, b"")


def test_the_process_is_hardened() -> None:
    """It dumps no core, can't be attached to by its own user's debugger, and makes files for nobody else."""
    script = (
        "import ctypes, json, os, resource; from trafficvault import cli; cli.harden()\n"
        "print(json.dumps([os.umask(0), resource.getrlimit(resource.RLIMIT_CORE), "
        "ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == [0o077, [0, 0], 0]


def test_progress_is_on_stderr_and_on_a_terminal_alone(line: CommandLine) -> None:
    """A terminal sees each step on stderr; stdout holds the object alone."""
    file = line.file("S4PGWM000004", usage([Usage(at="20261113120000")]))
    done = line("ingest", "mvno_pipe", file, "--json", environment={"FORCE_COLOR": "1"})

    assert done.code == 0
    assert "ingest: " in done.err
    assert done.object["receipts"][0]["stored"] == 1


def test_a_file_name_is_shown_as_it_is(line: CommandLine) -> None:
    """A name that looks like markup isn't taken for it, and one whose bytes are no text is escaped, not an error."""
    content = usage([Usage(at="20261113120000")])
    markup = line.file("[bold]x[nosuch].csv", content)
    latin = line.directory / os.fsdecode(b"caf\xe9.csv")
    latin.write_text(content + content)
    assert "[bold]x[nosuch].csv" in line("ingest", "mvno_pipe", markup).out

    done = line("ingest", "mvno_pipe", latin, "--json")
    assert done.code == 0
    assert done.object["receipts"][0]["file"] == "caf\\udce9.csv"
    shown = line("batch", "show", done.object["receipts"][0]["batch_id"])
    assert (shown.code, shown.err) == (0, "")
    assert "caf\\udce9.csv" in shown.out
