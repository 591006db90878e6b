"""One tree of errors, each a sentence for the person who reads it, with the exit code the command line gives it.

A message says what was being done, names both values and what to do next. It never holds a number, IMSI, IP, name or
any other value out of a record: it cites batch and row. Exit codes are a contract (one meaning each); freed codes stay
unused.
"""

from __future__ import annotations


class VaultError(Exception):
    """Base of all errors that a person is meant to read."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(VaultError):
    """The command, a file given to it or a setting is not of the right form."""

    exit_code = 2


class RefusedError(VaultError):
    """A rule refused the act: role, signature, scope, state."""

    exit_code = 3


class BatchError(VaultError):
    """A batch was held or refused."""

    exit_code = 4


class FaultError(VaultError):
    """Verification found a fault, or a stored thing could not be opened as what the catalogue says it is."""

    exit_code = 5


class DecisionError(VaultError):
    """A person must decide: the clock jumped or went back."""

    exit_code = 6


class SpaceError(VaultError):
    """Less free space than `min_free`, or than the act takes."""

    exit_code = 7


class BusyError(VaultError):
    """Another process writes."""

    exit_code = 8
