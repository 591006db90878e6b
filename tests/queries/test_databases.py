"""Databases that answered are kept for the next answer, empty, and few of them."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from ingest.record import SCHEMA
from queries import engine
from queries.questions import QuestionError, questions
from queries.scope import targets_table
from tests.queries.test_engine import LIMITS, A, B, Make, put


def test_nothing_of_an_answer_stays(grant: Make) -> None:
    """The database that answered is used again, and knows nothing of the rows, the answer or their names."""
    rows = pa.table({"a_number": [A] * 5000})
    put("SELECT a_number, row_number() OVER () AS place FROM records ORDER BY 2", grant(), rows)
    kept = engine._kept(LIMITS.memory, LIMITS.threads)
    put("SELECT a_number FROM records", grant(), rows)

    assert engine._kept(LIMITS.memory, LIMITS.threads) is kept
    for left in ("duckdb_tables()", "duckdb_views() WHERE NOT internal", "duckdb_temporary_files()"):
        assert kept.execute(f"SELECT count(*) FROM {left}").fetchall() == [(0,)]
    assert kept.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory()").fetchall() == [(0,)]
    with pytest.raises(duckdb.CatalogException):
        kept.execute("FROM records")


def test_a_stream_of_no_rows_is_known(grant: Make, rows: Make, target: Make, scope: Make) -> None:
    """Once its columns are known, DuckDB is not asked about nothing; the answer is the one that it gave."""
    question, wanted = questions()["activity"], targets_table(scope(target("msisdn", A)))
    engine._SHAPES.clear()

    first, second = (list(engine.answers(question, [], wanted, grant(), {}, LIMITS, SCHEMA)) for _ in range(2))

    assert len(first) == len(second) == 1 and first[0].num_rows == 0 and second[0].schema == first[0].schema


def test_answers_do_not_see_one_another(grant: Make) -> None:
    """Two answers at once have a connection each; the rows of the one are no table of the other."""
    with engine._databases(LIMITS) as one, engine._databases(LIMITS) as other:
        one().register("records", pa.table({"a_number": [A]}))
        with pytest.raises(duckdb.CatalogException):
            other().execute("FROM records")


def test_few_databases_are_kept(grant: Make) -> None:
    """A limit that was changed twice leaves two, and the oldest goes."""
    engine._MADE.clear()
    made = [engine._kept(memory, 1) for memory in ("100MB", "200MB", "300MB")]

    assert list(engine._MADE.values()) == made[1:]
    assert engine._kept("300MB", 1) is made[2]


def test_a_database_that_failed_is_dropped(grant: Make) -> None:
    """After a question that failed, the next is answered by a database of its own, of its own rows: one that the
    database which went had read too.
    """
    count = "SELECT count(*) AS rows FROM records WHERE a_number IS NOT NULL"
    put(count, grant())
    before = engine._kept(LIMITS.memory, LIMITS.threads)
    with pytest.raises(QuestionError):
        put("SELECT CAST('x' AS INTEGER)", grant())
    assert engine._kept(LIMITS.memory, LIMITS.threads) is not before
    before.close()
    assert put(count, grant(), pa.table({"a_number": [A, B, None]})).to_pylist() == [{"rows": 2}]
