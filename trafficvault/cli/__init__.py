"""The command line: verbs of at most some ten lines, each calling one act. `main` maps errors to exit codes.

Only the modules of the verb that was typed are imported: what all of them need takes longer than most verbs do.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from trafficvault import __version__, disk_errors
from trafficvault.errors import VaultError

_PR_SET_DUMPABLE = 4
_INTERRUPTED = 130
_ROOMS = {
    "setup": ("init", "policy", "config", "doctor", "user", "demo"),
    "intake": ("feeds", "sources", "ingest", "batch", "proposal"),
    "servicing": ("service", "proposal"),
    "orders": ("warrant", "proposal"),
    "proposing": ("proposal",),
    "adopting": ("policy", "proposal"),
    "holding": ("hold", "proposal"),
    "rights": ("rights",),
    "compacting": ("compact",),
    "keeping": ("expire", "verify", "status", "audit"),
    "scheduling": ("schedule",),
    "stating": ("statement",),
    "proving": ("certificate", "inventory", "audit"),
    "custody": ("keys", "backup", "restore"),
    "escrowing": ("escrow",),
}
"""The modules and the verbs that take them, in the order in which `--help` lists them. A proposal is carried out by the
module that made it.
"""
_TAKE_A_VALUE = ("--vault", "--keys", "--user")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"trafficvault {__version__}")
        raise typer.Exit


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
    from trafficvault.cli.door import Door, layout_of  # not before help and version, which need no vault

    context.obj = Door(layout_of(vault, keys), user)


def application(words: Sequence[str] = ()) -> typer.Typer:
    """The command line with the verb that `words` ask for; with every verb where they name none."""
    app = typer.Typer(
        name="trafficvault",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    wanted = _verb(words)
    for name in [name for name, verbs in _ROOMS.items() if wanted in verbs] or _ROOMS:
        import_module(f"trafficvault.cli.{name}").add_to(app)
    return app


def _verb(words: Sequence[str]) -> str | None:
    """The first of `words` that is no option and no value of one; None where help is asked for before it."""
    left = iter(words)
    for word in left:
        if word in _TAKE_A_VALUE:
            next(left, None)
        elif not word.startswith("-"):
            return word
        elif "=" not in word:
            return None
    return None


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
        _started(sys.argv[1:])()
    except SystemExit as leaving:
        # Typer always leaves by this, with a code of its own (1) when the reader of our output went away.
        return 0 if isinstance(leaving.__context__, BrokenPipeError) else leaving.code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BaseException as error:
        # The last resort, for a panic of a library too, which is no Exception.
        return told(error)
    return 0


def told(error: BaseException) -> int:
    """Tells an error that ended a verb on stderr, as a sentence, and returns its exit code."""
    if isinstance(error, VaultError):
        print(f"trafficvault: {error}", file=sys.stderr)
        # What failed beside it (`trafficvault.steadfast`).
        for note in getattr(error, "__notes__", ()):
            print(note, file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, OSError):
        return told(disk_errors.told(f"carrying out the command ({_place(error)})", error))
    # An error's own text may hold a record's value, so only its kind and place are told.
    print(f"trafficvault: internal error: {type(error).__name__} at {_place(error)}", file=sys.stderr)
    return 1


def _started(words: Sequence[str]) -> typer.Typer:
    """The application, with all that it imports kept out of the way of the garbage collector: modules stay.

    To the end: the collections of a process that ends would go through some hundred thousand objects, for longer than
    a tenth of a second, and find what goes with the process anyway. What a verb opens comes later and is collected.
    """
    gc.disable()
    try:
        return application(words)
    finally:
        gc.freeze()
        gc.enable()


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
