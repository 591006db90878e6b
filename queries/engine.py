"""Runs a question on rows already in scope, in a DuckDB that can reach nothing else.

The database is in memory, without files, network, extensions, spill or settings; it sees two Arrow tables and gives one
back. Spilling is off because DuckDB spills plaintext: a question that needs more than its memory limit fails instead.
The database is locked before it sees a row and stays, empty, for the next answer: making one costs more than most
questions. Each answer has a connection of its own; what is registered is known to that alone and goes with it, and a
question, being one SELECT, leaves nothing behind. After a question that failed the database is dropped. It is made
while the first rows are still being looked for.
"""

from __future__ import annotations

import atexit
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from queries.questions import Limits as Limits
from queries.questions import Question, QuestionError
from queries.scope import TARGET_SCHEMA

if TYPE_CHECKING:
    import duckdb

_WORD = re.compile(r"[a-z_][a-z0-9_]*")
_COMMENT = re.compile(r"--[^\n]*")
_COMPARISON = re.compile(r"is\s+(not\s+)?distinct\s+from")
_WHOLE_ROWS = frozenset(
    {"all", "columns", "distinct", "except", "intersect", "natural", "pivot", "union", "unpivot", "using"}
)
_POSITION = "position_among_records"
"""A column beside those that a question names: where in the rows it was given a row of its answer stands."""
_SHAPES: dict[tuple[str, pa.Schema], pa.Schema] = {}
"""What each stream has answered in this process: its columns, by its text and the columns of the rows it was given."""
_MADE: dict[tuple[str, int], duckdb.DuckDBPyConnection] = {}
"""The databases of this process, by their memory and threads."""
_MOST_MADE = 2
# Before Python ends: DuckDB complains on stderr of what is left, as what a module kept from the collector holds is.
atexit.register(_MADE.clear)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a warrant covers: categories, and the record's columns of those categories in the classes at hand."""

    categories: frozenset[str]
    columns: frozenset[str]


def complete(records: pa.Table, schema: pa.Schema) -> pa.Table:
    """`records` with every column of `schema`, then of `TARGET_SCHEMA`, of their types; absent ones null.

    Raises `QuestionError` when a column can't be of its type.
    """
    whole = _whole(schema)
    try:
        there = dict(zip(records.column_names, records.columns, strict=True))
        columns = [
            _cast(there[wanted.name], wanted.type) if wanted.name in there else _nothing(records.num_rows, wanted.type)
            for wanted in whole
        ]
    except pa.ArrowInvalid:
        columns = []
    if not columns:
        # Outside the handler: Arrow quotes the value it stumbled on.
        raise QuestionError("completing the rows for a question: a column is not of the type the record gives it")
    return pa.table(columns, schema=whole)


@lru_cache(maxsize=4)
def _whole(schema: pa.Schema) -> pa.Schema:
    return pa.schema([*schema, *TARGET_SCHEMA])


def answers(
    question: Question,
    stretches: Iterable[pa.Table],
    wanted: pa.Table,
    grant: Grant,
    parameters: Mapping[str, object],
    limits: Limits,
    schema: pa.Schema,
) -> Iterator[pa.Table]:
    """The answer to `question` over `stretches` (rows in scope, in time order, a day never divided): one table per
    stretch of a `stream`, else one.

    There is always at least one table, so that an empty answer has its columns too. Columns that `grant` does not cover
    are null to the question, whatever a stretch holds, and left out of the answer. Raises `QuestionError` when the
    question needs more categories than `grant` has, lacks a parameter, takes longer than its limit, or needs more
    memory than its limit.
    """
    bound = _bound(question, grant, parameters)
    # A slice is too small to be divided, and to plan for two threads costs more than one takes for it.
    with _databases(replace(limits, threads=1) if question.kind == "stream" else limits) as database:
        if question.kind == "aggregate":
            nothing = complete(pa.table({}), schema)
            whole = pa.concat_tables([nothing, *(complete(rows, schema) for rows in stretches)])
            yield _answer(database(), question, whole, wanted, grant, bound, limits)
            return
        given = False
        for rows in stretches:
            given = True
            yield _of_stretch(database, question, rows, wanted, grant, bound, limits, schema)
        if not given:
            yield _of_stretch(database, question, pa.table({}), wanted, grant, bound, limits, schema)


def _bound(question: Question, grant: Grant, parameters: Mapping[str, object]) -> dict[str, object]:
    """The parameters that the question takes. Raises `QuestionError` for one that lacks, and outside the grant."""
    _require_covered(question, grant)
    missing = sorted(set(question.parameters) - set(parameters))
    if missing:
        raise QuestionError(f"asking {question.name}: it needs the parameter {missing[0]}")
    return {name: parameters[name] for name in question.parameters}


def _answer(
    connection: duckdb.DuckDBPyConnection,
    question: Question,
    records: pa.Table,
    wanted: pa.Table,
    grant: Grant,
    parameters: dict[str, object],
    limits: Limits,
) -> pa.Table:
    from queries import database  # by now it is there: `connection` is of it

    given = _withheld(records, grant)
    shape = _SHAPES.get((question.text, records.schema)) if question.kind == "stream" else None
    connection.register("records", given if shape is None else _telling(given, question))
    if "wanted" in _named(question.text):
        connection.register("wanted", wanted)
    answer = database.ask(connection, question, parameters, limits)
    connection.unregister("records")
    if shape is not None:
        answer = _filled_up(answer, given, shape)
    elif question.kind == "stream":
        _SHAPES[question.text, records.schema] = answer.schema
    return answer.select(_shown(answer.schema, question, records.schema, grant))


def _of_stretch(
    database: Callable[[], duckdb.DuckDBPyConnection],
    question: Question,
    records: pa.Table,
    wanted: pa.Table,
    grant: Grant,
    parameters: dict[str, object],
    limits: Limits,
    schema: pa.Schema,
) -> pa.Table:
    """What a stream answers to `records`, which `schema` completes."""
    shape = None if records.num_rows else _SHAPES.get((question.text, _whole(schema)))
    if shape is not None:
        # Row-wise: of no row it tells nothing, and its columns are known.
        return _nothing_of(shape, tuple(_shown(shape, question, _whole(schema), grant)))
    return _answer(database(), question, complete(records, schema), wanted, grant, parameters, limits)


@contextmanager
def _databases(limits: Limits) -> Iterator[Callable[[], duckdb.DuckDBPyConnection]]:
    """Gives the one connection of an answer to the locked database, once that is made."""
    cursor = _cursor(limits)
    try:
        yield cursor
    except BaseException:
        _MADE.clear()
        raise
    finally:
        cursor().close()


def _cursor(limits: Limits) -> Callable[[], duckdb.DuckDBPyConnection]:
    if (limits.memory, limits.threads) in _MADE:
        ready = _kept(limits.memory, limits.threads).cursor()
        return lambda: ready
    maker = ThreadPoolExecutor(1, "question")
    making = maker.submit(lambda: _kept(limits.memory, limits.threads).cursor())
    maker.shutdown(wait=False)
    return making.result


def _kept(memory: str, threads: int) -> duckdb.DuckDBPyConnection:
    """The database of this process for so many threads: locked, and without a table or a row, whatever was asked."""
    found = _MADE.get((memory, threads))
    if found is None:
        # Here, in the thread that makes it: a process that has just started imports DuckDB beside its search.
        from queries import database

        for oldest in list(_MADE)[: len(_MADE) + 1 - _MOST_MADE]:
            _MADE.pop(oldest, None)
        found = _MADE[memory, threads] = database.locked(Limits(memory=memory, threads=threads))
    return found


def _require_covered(question: Question, grant: Grant) -> None:
    lacking = sorted(question.needs - grant.categories)
    if lacking:
        raise QuestionError(
            f"asking {question.name}: it needs {', '.join(lacking)}, and the warrant covers "
            f"{', '.join(sorted(grant.categories)) or 'nothing'}; ask a question that needs less"
        )


def _cast(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    return column if column.type == wanted else column.cast(wanted)


@lru_cache(maxsize=64)
def _nothing_of(shape: pa.Schema, names: tuple[str, ...]) -> pa.Table:
    return shape.empty_table().select(list(names))


@lru_cache(maxsize=256)
def _nothing(rows: int, type_: pa.DataType) -> pa.Array:
    """So many nulls of that type: most columns of most answers have no value at all."""
    return pa.nulls(rows, type_)


def _withheld(records: pa.Table, grant: Grant) -> pa.Table:
    """`records` with null in place of what `grant` does not cover."""
    free = grant.columns | set(TARGET_SCHEMA.names)
    return pa.table(
        [
            column if field.name in free else _nothing(records.num_rows, field.type)
            for field, column in zip(records.schema, records.columns, strict=True)
        ],
        schema=records.schema,
    )


def _telling(records: pa.Table, question: Question) -> pa.Table:
    """`records` without the columns that the question does not name, and, in their place, the position of each row;
    where it may do more with a column than pass it on, without those that hold nothing.

    DuckDB would plan, join and sort each of them. `_filled_up` puts them back.
    """
    named = _named(question.text)
    if _passes_on(question.text):
        narrow = records.select([name for name in records.column_names if name in named])
        return narrow.append_column(_POSITION, pa.array(np.arange(records.num_rows)))
    rows = records.num_rows
    return records.select(
        [
            name
            for name, column in zip(records.column_names, records.columns, strict=True)
            if name in named or column.null_count < rows
        ]
    )


@lru_cache(maxsize=64)
def _passes_on(text: str) -> bool:
    """Whether a question does nothing with the columns that it does not name but to pass them on with their row: its
    only star is one `records.*`, and no word of it compares, joins or lists whole rows.
    """
    code = _COMPARISON.sub("=", _COMMENT.sub("", text.lower()))
    stars = code.replace("count(*)", "").count("*")
    return stars == 1 and "records.* exclude (" in code and _WHOLE_ROWS.isdisjoint(_WORD.findall(code))


@lru_cache(maxsize=64)
def _named(text: str) -> frozenset[str]:
    """Every word of a question: whatever it calls by name is among them."""
    return frozenset(_WORD.findall(text.lower()))


def _filled_up(answer: pa.Table, given: pa.Table, shape: pa.Schema) -> pa.Table:
    """`answer` with every column of `shape`: what it lacks stands in the rows that it tells the positions of, and is
    null where it tells none.
    """
    there = dict(zip(answer.column_names, answer.columns, strict=True))
    at = there.pop(_POSITION, None)
    if at is not None:
        # Rows are mostly given in the order that they are asked for in.
        is_as_given = len(at) == given.num_rows and np.array_equal(at.to_numpy(), np.arange(len(at)))
        lacking = {field.name: field.type for field in shape if field.name not in there}
        for name, column in zip(given.column_names, given.columns, strict=True):
            if name in lacking and column.null_count < given.num_rows:
                there[name] = _cast(column if is_as_given else column.take(at), lacking[name])
    columns = [there[field.name] if field.name in there else _nothing(answer.num_rows, field.type) for field in shape]
    return pa.table(columns, schema=shape)


def _shown(answer: pa.Schema, question: Question, schema: pa.Schema, grant: Grant) -> list[str]:
    """The columns of an answer that the grant covers: of the record, or computed from what is covered."""
    of_record = frozenset(schema.names) - frozenset(TARGET_SCHEMA.names) - grant.columns
    return [
        name
        for name in answer.names
        if (question.derived[name] & grant.columns if name in question.derived else name not in of_record)
    ]
