"""The schema: how SQLite is told to make the tables of the catalogue, as text that `verify` and an upgrade compare.

Its words are SQLAlchemy's, which knows what SQLite reserves; no row goes through it. It is imported when a catalogue is
made, brought over or checked, and by no question: that alone takes longer than most verbs do.
"""

from __future__ import annotations

from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from trafficvault.table import Table
from trafficvault.tables import TABLES


@cache
def texts() -> dict[str, str]:
    """The CREATE TABLE of each table, as SQLite keeps it."""
    return {name: _text(table) for name, table in TABLES.items()}


def _text(table: Table) -> str:
    made = sa.Table(
        table.name,
        sa.MetaData(),
        *(
            sa.Column(one.name, sa.Integer if one.kind is int else sa.Text, nullable=one.optional)
            for one in table.columns
        ),
        sa.PrimaryKeyConstraint(*table.key),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    return str(CreateTable(made).compile(dialect=sqlite.dialect())).lstrip()
