"""The canonical form of a row of the catalogue: what its seal is taken over.

It is `signing.canonical` of the table's name and the row. Thousands of rows are checked when a process begins, so one
that has exactly the table's columns, and texts, integers and nulls alone, is written down directly, which takes half.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from json.encoder import encode_basestring

from trafficvault import signing
from trafficvault.table import Table

_PLAIN = frozenset({int, str, type(None)})


def canonical(table: Table, row: Mapping[str, object], seal: str) -> bytes:
    """The form of `row` of `table`, without its column `seal`. Raises `TypeError` for what has no canonical form."""
    names, heads, end = _form(table, seal)
    if len(row) - (seal in row) == len(names) and row.keys() >= names.keys():
        values = [row[name] for name in names]
        if _PLAIN.issuperset(map(type, values)):
            parts = [
                head + ("null" if value is None else encode_basestring(value) if isinstance(value, str) else str(value))
                for head, value in zip(heads, values, strict=True)
            ]
            return ("".join(parts) + end).encode()
    plain = {name: value for name, value in row.items() if name != seal}
    return signing.canonical({"table": table.name, "row": plain})


@cache
def _form(table: Table, seal: str) -> tuple[dict[str, None], list[str], str]:
    """The columns in order, what stands before the value of each, and what ends a row."""
    names = sorted(name for name in table.names if name != seal)
    heads = [("," if place else '{"row":{') + encode_basestring(name) + ":" for place, name in enumerate(names)]
    return dict.fromkeys(names), heads, f'}},"table":{encode_basestring(table.name)}}}'
