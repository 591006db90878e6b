"""The doctor: every outcome of every check from facts that are handed in, and the facts of a real directory."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from trafficvault import doctor, machine
from trafficvault.doctor import TESTED, Finding, examine
from trafficvault.layout import Layout
from trafficvault.machine import ClockState, Facts, Mode, clock_state, collect

VAULT, KEYS = Path("/srv/vault"), Path("/keys/vault")
HEALTHY = Facts(
    clock=ClockState(True, 0.002),
    vault=VAULT,
    keys=KEYS,
    keys_exist=True,
    same_device=False,
    key_modes=(Mode("vault", 0o700, 1000, is_directory=True), Mode("root.key", 0o600, 1000)),
    vault_modes=(Mode("vault", 0o700, 1000, is_directory=True), Mode("vault.toml", 0o600, 1000)),
    user=1000,
    free_bytes=10 * 2**30,
    swap_areas=(),
    core_limit=0,
    core_pattern="core",
    python=(3, 11, 7),
    versions={name: f"{low}.0" for name, (low, _) in TESTED.items()},
)


def _examined(facts: Facts) -> dict[str, Finding]:
    return {item.check: item for item in examine(Layout(VAULT, KEYS), 2**30, lambda layout: facts)}


def test_a_healthy_machine_has_nothing_but_ok() -> None:
    """Every check has a state in which it is content."""
    found = _examined(HEALTHY)

    assert {item.state for item in found.values()} == {"ok"}
    assert set(found) == {
        "clock",
        "keys apart",
        "key permissions",
        "vault permissions",
        "free space",
        "swap",
        "core dumps",
        "python",
        *TESTED,
    }


@pytest.mark.parametrize(
    ("change", "check", "state", "words"),
    [
        pytest.param(
            {"clock": ClockState(None, why="adjtimex: Operation not permitted")},
            "clock",
            "warn",
            "is unknown (adjtimex: Operation not permitted)",
            id="clock unknown",
        ),
        pytest.param({"clock": ClockState(False)}, "clock", "warn", "not synchronised", id="clock free-running"),
        pytest.param({"clock": ClockState(True, 4.0)}, "clock", "warn", "may be 4.0 s off", id="clock vague"),
        pytest.param({"keys_exist": False}, "keys apart", "fail", "no key directory at /keys/vault", id="no keys"),
        pytest.param({"keys": VAULT}, "keys apart", "fail", "inside the vault", id="one directory for both"),
        pytest.param({"keys": VAULT / "k" / "l"}, "keys apart", "fail", "inside the vault", id="keys in the vault"),
        pytest.param({"keys": Path("/srv")}, "keys apart", "fail", "inside the key directory", id="vault in the keys"),
        pytest.param({"same_device": True}, "keys apart", "warn", "on one file system", id="one disk"),
        pytest.param({"same_device": None}, "keys apart", "warn", "cannot be told", id="disk unknown"),
        pytest.param({"keys_exist": False}, "key permissions", "fail", "no key directory", id="no keys to check"),
        pytest.param(
            {"key_modes": (Mode("ring-3", 0o640, 1000),)},
            "key permissions",
            "fail",
            "ring-3 of the key directory has permissions 0640; others can reach it: chmod 0600",
            id="key readable",
        ),
        pytest.param(
            {"key_modes": (Mode("vault", 0o755, 1000, is_directory=True), Mode("x", 0o644, 1000))},
            "key permissions",
            "fail",
            "permissions 0755 (and 1 more); others can reach it: chmod 0700",
            id="key directory open",
        ),
        pytest.param(
            {"key_modes": (Mode("root.key", 0o600, 0),)},
            "key permissions",
            "fail",
            "belongs to another user",
            id="key of another",
        ),
        pytest.param(
            {"key_modes": (Mode("root.key", 0o777, 1000, is_link=True),)},
            "key permissions",
            "fail",
            "is a link",
            id="key is a link",
        ),
        pytest.param(
            {"vault_modes": (Mode("catalogue.db", 0o644, 1000),)},
            "vault permissions",
            "warn",
            "catalogue.db of the vault has permissions 0644",
            id="vault readable",
        ),
        pytest.param({"free_bytes": None}, "free space", "warn", "cannot be told", id="space unknown"),
        pytest.param({"free_bytes": 2**29}, "free space", "fail", "0.50 GiB are free", id="disk full"),
        pytest.param({"free_bytes": 2**30}, "free space", "ok", "1.00 GiB are free", id="just enough space"),
        pytest.param({"swap_areas": None}, "swap", "warn", "cannot be told", id="swap unknown"),
        pytest.param({"swap_areas": ("/dev/sda2",)}, "swap", "warn", "swap is on (one area)", id="swap on"),
        pytest.param({"swap_areas": ("/dev/sda2", "/swap")}, "swap", "warn", "(2 areas)", id="two swaps"),
        pytest.param({"core_limit": None}, "core dumps", "warn", "cannot be told", id="limit unknown"),
        pytest.param({"core_pattern": None}, "core dumps", "warn", "cannot be told", id="pattern unknown"),
        pytest.param(
            {"core_pattern": "|/usr/lib/handler %p"},
            "core dumps",
            "warn",
            "hands core dumps to a program",
            id="piped dumps",
        ),
        pytest.param({"core_limit": -1}, "core dumps", "warn", "of any size", id="unlimited dumps"),
        pytest.param({"core_limit": 4096}, "core dumps", "warn", "up to 4096 bytes", id="small dumps"),
        pytest.param({"python": (3, 10, 9)}, "python", "fail", "3.11 is the oldest that serves", id="old Python"),
        pytest.param({"python": (3, 14, 0)}, "python", "ok", "Python 3.14.0", id="new Python"),
    ],
)
def test_each_outcome_says_what_was_found(change: dict[str, object], check: str, state: str, words: str) -> None:
    """What cannot be told is a warning; what the promises do not survive is a failure."""
    found = _examined(replace(HEALTHY, **change))[check]  # type: ignore[arg-type]  # fields by name

    assert found.state == state
    assert words in found.sentence


@pytest.mark.parametrize(
    ("name", "found", "state", "words"),
    [
        ("duckdb", "2.0.0", "ok", "duckdb 2.0.0"),
        ("duckdb", "2.0.9.dev4+g1", "ok", "duckdb 2.0.9"),
        ("duckdb", "2.1.0", "warn", "newer than what is tested"),
        ("duckdb", "1.9.1", "fail", "older than 2.0"),
        ("duckdb", None, "fail", "not installed"),
        ("polars", "2.1", "ok", "polars 2.1"),
        ("polars", "2.0.9", "fail", "older"),
        ("pyarrow", "27.0.0", "ok", "pyarrow 27"),
        ("pyarrow", "28.0.0", "warn", "26 up to, not including, 28"),
        ("sqlite", "3.40.1", "ok", "sqlite 3.40.1"),
        ("sqlite", "3.34.0", "fail", "older than 3.37"),
    ],
)
def test_a_library_is_held_against_what_was_tested(name: str, found: str | None, state: str, words: str) -> None:
    """Too old does not serve; newer than tested is for a person to weigh."""
    finding = doctor.version(name, found)

    assert (finding.check, finding.state) == (name, state)
    assert words in finding.sentence


def test_the_versions_installed_here_are_within_the_tested_bounds() -> None:
    """The bounds say what the tests run with."""
    versions = machine.collect(Layout(Path("/nowhere"), Path("/nowhere.keys"))).versions

    assert {name: doctor.version(name, versions.get(name)).state for name in TESTED} == dict.fromkeys(TESTED, "ok")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A vault and a key directory as `init` makes them."""
    vault, keys = tmp_path / "vault", tmp_path / "keys"
    for directory in (vault, keys, vault / "records"):
        directory.mkdir(mode=0o700)
    for file in (keys / "root.key", vault / "vault.toml"):
        file.write_bytes(b"x")
        file.chmod(0o600)
    return Layout(vault, keys)


def test_facts_of_a_real_directory(layout: Layout) -> None:
    """The collector sees modes, owners, space and the one file system, and the checks judge them."""
    facts = collect(layout)

    assert facts.keys_exist
    assert facts.same_device is True
    assert [(item.name, item.permissions) for item in facts.key_modes] == [("keys", 0o700), ("root.key", 0o600)]
    assert [item.name for item in facts.vault_modes] == ["vault", "records", "vault.toml"]
    assert {item.owner for item in facts.key_modes} == {os.geteuid()}
    assert facts.free_bytes is not None
    assert doctor.key_permissions(facts).state == doctor.vault_permissions(facts).state == "ok"


def test_an_open_key_file_is_found(layout: Layout) -> None:
    """Also below the directory, and a link is seen as a link."""
    (layout.keys / "deep").mkdir(mode=0o700)
    (layout.keys / "deep" / "copy").write_bytes(b"x")
    (layout.keys / "deep" / "copy").chmod(0o604)
    assert "deep/copy of the key directory has permissions 0604" in doctor.key_permissions(collect(layout)).sentence

    (layout.keys / "deep" / "copy").unlink()
    (layout.keys / "deep" / "copy").symlink_to("/nowhere")
    assert "deep/copy of the key directory is a link" in doctor.key_permissions(collect(layout)).sentence


def test_a_link_to_the_vault_does_not_hide_the_keys_in_it(layout: Layout) -> None:
    """Paths are resolved before they are compared."""
    inside = layout.vault / "keys"
    inside.mkdir(mode=0o700)
    link = layout.vault.parent / "elsewhere"
    link.symlink_to(inside)

    assert "inside the vault" in doctor.keys_apart(collect(Layout(layout.vault, link))).sentence


def test_what_is_not_there_is_told_not_raised(tmp_path: Path) -> None:
    """Without vault, keys and /proc every check still answers."""
    layout = Layout(tmp_path / "vault", tmp_path / "keys")
    facts = collect(layout, tmp_path / "proc")

    assert (facts.swap_areas, facts.core_pattern, facts.free_bytes, facts.same_device) == (None, None, None, None)
    assert (facts.key_modes, facts.vault_modes, facts.keys_exist) == ((), (), False)
    assert {item.check for item in examine(layout, 1, lambda _: facts)} == set(_examined(HEALTHY))


def test_swap_areas_are_read_from_proc(layout: Layout, tmp_path: Path) -> None:
    """The head line is no area."""
    proc = tmp_path / "proc"
    (proc / "sys" / "kernel").mkdir(parents=True)
    (proc / "sys" / "kernel" / "core_pattern").write_text("|/handler\n", encoding="utf-8")
    (proc / "swaps").write_text("Filename\tType\tSize\n/dev/sda2 partition 1\n/swap file 2\n", encoding="utf-8")
    facts = collect(layout, proc)

    assert (facts.swap_areas, facts.core_pattern) == (("/dev/sda2", "/swap"), "|/handler")


def test_the_kernel_is_asked_about_the_clock() -> None:
    """It answers yes, no or unknown with a reason, and never stops the doctor."""
    state = clock_state()

    assert (state.synchronised is None) == bool(state.why)
    assert clock_state("no-such-library.so") == ClockState(None, why="this system has no adjtimex")


@pytest.mark.parametrize(
    ("answer", "status", "expected"),
    [
        pytest.param(0, 0, ClockState(True, 0.25), id="synchronised"),
        pytest.param(5, 0, ClockState(False, 0.25), id="the kernel says error"),
        pytest.param(0, 0x40, ClockState(False, 0.25), id="the kernel says unsynchronised"),
        pytest.param(-1, 0, ClockState(None, why="adjtimex: Operation not permitted"), id="forbidden in a container"),
    ],
)
def test_each_answer_of_the_kernel_is_understood(
    monkeypatch: pytest.MonkeyPatch, answer: int, status: int, expected: ClockState
) -> None:
    """adjtimex(2): -1 with an error, 5 for an unsynchronised clock, the flag STA_UNSYNC beside it."""

    class Library:
        def __init__(self, name: object, use_errno: bool) -> None:
            self.adjtimex: Callable[[object], int] = self._answer

        @staticmethod
        def _answer(reference: object) -> int:
            timex = reference._obj  # type: ignore[attr-defined]  # what byref points at
            timex.status, timex.maxerror = status, 250_000
            return answer

    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(ctypes, "get_errno", lambda: 1)

    assert clock_state() == expected


def test_a_file_that_vanishes_meanwhile_is_left_out(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ring that is replaced while the doctor looks is no fault."""
    seen = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        if path.name == "root.key":
            raise FileNotFoundError
        return seen(path)

    monkeypatch.setattr(Path, "lstat", lstat)

    assert [item.name for item in collect(layout).key_modes] == ["keys"]


def test_a_library_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    """The doctor names it instead of failing with it."""

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)

    assert collect(layout).versions["polars"] is None
