"""The command line: verbs of at most some ten lines, each calling one act. `main` maps errors to exit codes."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import Annotated

import typer

from trafficvault import __version__
from trafficvault.cli import adopting as adopting  # adds its verbs to those of the policy
from trafficvault.cli import (
    compacting,
    custody,
    escrowing,
    holding,
    intake,
    keeping,
    orders,
    proposing,
    proving,
    rights,
    scheduling,
    servicing,
    setup,
    stating,
)
from trafficvault.cli.door import Door, layout_of
from trafficvault.durable import NO_SPACE
from trafficvault.errors import SpaceError, VaultError

_PR_SET_DUMPABLE = 4
_INTERRUPTED = 130

app = typer.Typer(
    name="trafficvault",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"trafficvault {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    vault: Annotated[Path, typer.Option(envvar="TRAFFICVAULT_VAULT", help="The vault directory.")] = Path("vault"),
    keys: Annotated[
        Path | None,
        typer.Option(envvar="TRAFFICVAULT_KEYS", help="The key directory; default: <vault>.keys beside it."),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="The acting person; password by prompt or TRAFFICVAULT_PASSWORD.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keeps telecom traffic data encrypted, discloses it under a warrant, and forgets it on time."""
    context.obj = Door(layout_of(vault, keys), user)


setup.add_to(app)
intake.add_to(app)
servicing.add_to(app)
orders.add_to(app)
proposing.add_to(app)
holding.add_to(app)
rights.add_to(app)
compacting.add_to(app)
keeping.add_to(app)
scheduling.add_to(app)
stating.add_to(app)
proving.add_to(app)
custody.add_to(app)
escrowing.add_to(app)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 internal, 2 usage, and those of `trafficvault.errors`."""
    harden()
    code = _run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not our failure, and nothing left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _run() -> int | str | None:
    """Runs the verb of the command line, tells its error, and returns the exit code."""
    try:
        app()
    except SystemExit as leaving:
        # Typer always leaves by this, with a code of its own (1) when the reader of our output went away.
        return 0 if isinstance(leaving.__context__, BrokenPipeError) else leaving.code
    except VaultError as error:
        print(f"trafficvault: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BaseException as error:
        # The last resort, for a panic of a library too, which is no Exception. An error's own text may hold a record's
        # value, so only its kind and place are told.
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            print("trafficvault: the disk is full; nothing is half done: free space and do it again", file=sys.stderr)
            return SpaceError.exit_code
        print(f"trafficvault: internal error: {type(error).__name__} at {_place(error)}", file=sys.stderr)
        return 1
    return 0


def harden() -> None:
    """No core dump, no debugger of the same user, no file for others: this process holds keys."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown place"
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
