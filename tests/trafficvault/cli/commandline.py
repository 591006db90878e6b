"""The command line run in this process, as a shell runs it: words and environment in, exit code and two streams out."""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support import FAST, NOW, PASSWORD, layout_at
from trafficvault import app, cli
from trafficvault.clock import SystemClock


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def object(self) -> dict[str, Any]:
        """The one JSON object on stdout; fails when there is anything else."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


def cheap_passwords(patch: pytest.MonkeyPatch) -> None:
    """New passwords cost next to nothing to check: nobody guesses at them here."""
    for function in (app.create, app.add_person):
        assert isinstance(function, FunctionType)
        patch.setattr(function, "__defaults__", (FAST,))


class CommandLine:
    """`trafficvault` with the vault below a directory, at a moment that stands still."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch, now: datetime = NOW) -> None:
        self.directory, self.now = directory, now
        self.layout = layout_at(directory)
        self._patch = patch

    def __call__(
        self,
        *words: object,
        user: str | None = None,
        password: str = PASSWORD,
        typed: str = "",
        environment: dict[str, str] | None = None,
    ) -> Outcome:
        """Runs `words` on the vault; `user` gives `password` by the environment, `typed` is what prompts get."""
        before: list[object] = ["--vault", self.layout.vault, "--keys", self.layout.keys]
        signing_in: dict[str, str] = {}
        if user is not None:
            before += ["--user", user]
            signing_in = {"TRAFFICVAULT_PASSWORD": password} if password else {}
        return self.bare(*before, *words, typed=typed, environment=signing_in | (environment or {}))

    def bare(self, *words: object, typed: str = "", environment: dict[str, str] | None = None) -> Outcome:
        """Runs `words` and nothing before them."""
        with self._patch.context() as patch:
            patch.setattr(sys, "argv", ["trafficvault", *map(str, words)])
            # What `harden` does to a process stays with it: it is tried in a process of its own.
            patch.setattr(cli, "harden", lambda: None)
            patch.setattr(SystemClock, "now", lambda clock: self.now)
            cheap_passwords(patch)
            for name, value in {"COLUMNS": "250", **(environment or {})}.items():
                patch.setenv(name, value)
            with CliRunner().isolation(input=typed) as (out, err, _):
                with pytest.raises(SystemExit) as left:
                    cli.main()
                # A process ends with its verb, and what it imported stays frozen to the end; this one goes on.
                gc.unfreeze()
                sys.stdout.flush()
                sys.stderr.flush()
                code = left.value.code
                assert isinstance(code, int)
                return Outcome(code, out.getvalue().decode(), err.getvalue().decode())

    def file(self, name: str, content: str | bytes) -> Path:
        """A file beside the vault."""
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path
