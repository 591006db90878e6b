"""A table of the catalogue: its name, its primary key and its columns, and nothing of SQL."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, `int` or `str`, and whether it may be null."""

    name: str
    kind: type
    optional: bool = False


@dataclass(frozen=True, eq=False)
class Table:
    """A table; there is one of each, so that two are the same when they are one."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of its columns, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """The column of that name. Raises `KeyError` when there is none."""
        if name not in self.names:
            raise KeyError(f"table {self.name} has no column {name}")
        return self.columns[self.names.index(name)]
