"""The engine answers, and reaches nothing but the rows it is given."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from ingest.record import SCHEMA
from queries import database, engine
from queries.questions import Limits, Question, QuestionError, load, questions
from queries.scope import select, targets_table

Make = Callable[..., Any]

A, B = "+31612345678", "+31201234567"
NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
HEADER = "-- kind: aggregate\n-- needs: who, when\n-- describes: what a test asks\n--\n"
LIMITS = Limits(100.0)


def question_of(sql: str, name: str = "asked", header: str = HEADER) -> Question:
    """A question made of SQL."""
    return Question(
        name, header + sql, "", "aggregate", frozenset({"who"}), frozenset(), frozenset(), (), {}, "what a test asks"
    )


def run(
    question: Question, records: pa.Table, wanted: pa.Table, grant: engine.Grant, told: dict[str, Any], limits: Limits
) -> pa.Table:
    """The answer over one stretch."""
    (answer,) = engine.answers(question, [records], wanted, grant, told, limits, SCHEMA)
    return answer


def put(sql: str, grant: engine.Grant, records: pa.Table | None = None, limits: engine.Limits = LIMITS) -> pa.Table:
    """Runs SQL as a question."""
    table = engine.complete(pa.table({"a_number": [A], "imsi": ["1"]}) if records is None else records, SCHEMA)
    return run(question_of(sql), table, pa.table({"index": [1]}), grant, {}, limits)


def test_a_new_question_is_a_new_file(tmp_path: Path, rows: Make, target: Make, scope: Make, grant: Make) -> None:
    """Adding a question is adding one .sql."""
    sql = (
        "SELECT target, count(*) AS rows, $word AS word, value FROM records JOIN wanted ON index = target GROUP BY ALL"
    )
    (tmp_path / "tally.sql").write_text(HEADER.replace("--\n", "-- parameters: word\n--\n") + sql)
    question = questions(tmp_path)["tally"]
    wanted = scope(target("msisdn", A))
    found = select(rows({"start": NOON, "a_number": A}, {"start": NOON, "b_number": A}), wanted).to_arrow()

    answer = list(
        engine.answers(question, [found, found], targets_table(wanted), grant(), {"word": "x", "no": 1}, LIMITS, SCHEMA)
    )

    assert [table.to_pylist() for table in answer] == [[{"target": 1, "rows": 4, "word": "x", "value": A}]]


def test_a_stream_runs_day_by_day(rows: Make, target: Make, scope: Make, grant: Make) -> None:
    """A stream gives one table per day, an aggregate one for all; without any rows there are still columns."""
    wanted = scope(target("msisdn", A))
    day = select(rows({"start": NOON, "a_number": A}), wanted).to_arrow()
    shipped, table = questions(), targets_table(wanted)

    def ask(name: str, days: list[pa.Table]) -> list[pa.Table]:
        return list(engine.answers(shipped[name], days, table, grant(), {}, LIMITS, SCHEMA))

    assert [answer.num_rows for answer in ask("activity", [day, day])] == [1, 1]
    assert [answer.num_rows for answer in ask("activity", [])] == [0]
    assert [answer.num_rows for answer in ask("identifiers", [])] == [0]
    assert ask("activity", [])[0].schema == ask("activity", [day])[0].schema


@pytest.mark.parametrize("name", sorted(name for name, question in questions().items() if question.kind == "stream"))
def test_a_stream_says_the_same_at_first_and_later(
    name: str, rows: Make, target: Make, scope: Make, grant: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns that hold nothing are kept from DuckDB once a stream has answered; its answers do not tell."""
    wanted, question = scope(target("msisdn", A)), questions()[name]
    frames = [
        rows({"start": NOON, "a_number": A, "imsi": "1", "record_id": "r", "part": "first", "correlation_id": "k"}),
        rows({"start": NOON, "b_number": A, "record_id": "r"}, {"end": NOON, "a_number": A, "public_ip": bytes(16)}),
        rows({"start": NOON, "a_number": B}),
    ]
    found = [select(frame, wanted).to_arrow() for frame in frames]

    def ask(records: pa.Table) -> pa.Table:
        whole = engine.complete(records, SCHEMA)
        return run(question, whole, targets_table(wanted), grant(), {"max_matches": 1}, LIMITS)

    def ask_first(records: pa.Table) -> pa.Table:
        monkeypatch.setattr(engine, "_SHAPES", {})
        return ask(records)

    first = [ask_first(records) for records in found]
    later = [ask(records) for records in found]

    assert [answer.num_rows for answer in first] == [1, 2, 0]
    assert all(one.equals(other) for one, other in zip(first, later, strict=True))
    assert all(one.schema == first[0].schema for one in later)


def test_what_a_stream_passes_on_stays_with_its_row(rows: Make, target: Make, scope: Make, grant: Make) -> None:
    """DuckDB sees the columns that the question names and sorts by them; the others follow, in its order."""
    wanted, question = scope(target("msisdn", A)), questions()["activity"]
    made = [
        {
            "start": NOON + timedelta(minutes=number * 37 % 60),
            "a_number": A,
            "b_number": None if number % 3 else B,
            "imsi": str(number),
            "served": "a",
            "bytes_down": number if number % 5 else None,
            "record_id": str(number // 2),
            "row": number,
        }
        for number in range(60)
    ]
    records = engine.complete(select(rows(*made), wanted).to_arrow().take(list(range(59, -1, -1))), SCHEMA)

    def ask() -> pa.Table:
        return run(question, records, targets_table(wanted), grant(), {"max_matches": 1}, LIMITS)

    engine._SHAPES.clear()
    first, later = ask(), ask()

    assert later.equals(first)
    told = sorted(made, key=lambda one: (one["start"], one["row"]))
    assert later.select(["imsi", "bytes_down", "row"]).to_pylist() == [
        {name: one[name] for name in ("imsi", "bytes_down", "row")} for one in told
    ]
    assert set(later["record_versions"].to_pylist()) == {2}


def test_a_stream_that_compares_whole_rows_is_given_them(rows: Make, target: Make, scope: Make, grant: Make) -> None:
    """Two rows that differ in a column which the question does not name stay two; equal ones are one."""
    wanted = scope(target("msisdn", A))
    text = "SELECT DISTINCT records.* EXCLUDE (neighbour, answer_day) FROM records ORDER BY imsi"
    question = replace(questions()["activity"], text=text, derived={})
    made = [{"start": NOON, "a_number": A, "served": "a", "imsi": imsi} for imsi in ("1", "2", "2")]
    records = engine.complete(select(rows(*made), wanted).to_arrow(), SCHEMA)
    index = records.column_names.index("row")
    same = records.set_column(index, "row", pa.array([1] * 3, pa.int64()))

    def ask() -> pa.Table:
        return run(question, same, targets_table(wanted), grant(), {"max_matches": 1}, LIMITS)

    first, later = ask(), ask()

    assert first["imsi"].to_pylist() == ["1", "2"]
    assert later.equals(first)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT target, records.* EXCLUDE (target), 1 AS one FROM records", True),
        ("SELECT records.* EXCLUDE (target), count(*) OVER () AS n FROM records -- DISTINCT *", True),
        ("SELECT records.* EXCLUDE (target) FROM records WHERE target IS NOT DISTINCT FROM 1", True),
        ("SELECT DISTINCT records.* EXCLUDE (target) FROM records", False),
        ("SELECT records.* EXCLUDE (target), count(*) FROM records GROUP BY ALL", False),
        ("SELECT records.* EXCLUDE (target) FROM records NATURAL JOIN wanted", False),
        ("SELECT records.* EXCLUDE (target), row * 2 FROM records", False),
        ("SELECT * FROM records", False),
        ("SELECT a_number FROM records", False),
    ],
)
def test_only_what_passes_rows_on_is_given_fewer_columns(sql: str, expected: bool) -> None:
    """A question that may look at whole rows gets them whole."""
    assert engine._passes_on(sql) is expected


def test_what_is_not_covered_is_not_shown(rows: Make, target: Make, scope: Make, grant: Make) -> None:
    """Columns outside the warrant are null to the question, even if they were read, and left out of the answer."""
    wanted = scope(target("msisdn", A))
    row = {
        "start": NOON,
        "a_number": A,
        "b_number": B,
        "served": "a",
        "start_cell": "x",
        "duration_ms": 5,
        "event": "call",
    }
    found = select(rows(row), wanted).to_arrow()
    narrow = grant(frozenset({"who", "when"}))

    def ask(name: str, given: engine.Grant) -> pa.Table:
        return next(engine.answers(questions()[name], [found], targets_table(wanted), given, {}, LIMITS, SCHEMA))

    assert {"start_cell", "duration_ms", "event"} <= set(ask("activity", grant()).column_names)
    assert not {"start_cell", "duration_ms", "event"} & set(ask("activity", narrow).column_names)
    assert {"target", "targets", "source", "assembled_end"} <= set(ask("activity", narrow).column_names)
    assert "total_duration_ms" in ask("contacts", grant()).column_names
    assert not {"total_duration_ms", "event"} & set(ask("contacts", narrow).column_names)
    hidden = put("SELECT count(start_cell) AS places FROM records", narrow, found)
    assert hidden.to_pylist() == [{"places": 0}]


def test_needs_that_are_not_covered(grant: Make) -> None:
    """A question that needs a category outside the warrant is refused, and says which."""
    with pytest.raises(QuestionError, match="cell: it needs where, and the warrant covers when, who"):
        run(
            questions()["cell"],
            engine.complete(pa.table({}), SCHEMA),
            pa.table({}),
            grant(frozenset({"who", "when"})),
            {},
            LIMITS,
        )


def test_a_missing_parameter(grant: Make) -> None:
    """A question without its parameter is not asked."""
    with pytest.raises(QuestionError, match="needs the parameter max_matches"):
        run(questions()["holder"], engine.complete(pa.table({}), SCHEMA), pa.table({}), grant(), {}, LIMITS)


SECRET = "/etc/passwd"
CLOSED = [
    f"FROM read_csv('{SECRET}')",
    f"FROM read_text('{SECRET}')",
    f"FROM read_blob('{SECRET}')",
    f"FROM read_json('{SECRET}')",
    f"FROM read_parquet('{SECRET}')",
    f"FROM '{SECRET}'",
    "FROM glob('/*')",
    "FROM parquet_metadata('/tmp/x.parquet')",
    "FROM sniff_csv('/etc/passwd')",
    "FROM read_text('https://example.com/')",
    "COPY records TO '/tmp/leak.csv'",
    "COPY records FROM '/etc/passwd'",
    "EXPORT DATABASE '/tmp/leak'",
    "IMPORT DATABASE '/tmp/leak'",
    "ATTACH '/tmp/leak.db'",
    "ATTACH ':memory:' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
    "FORCE INSTALL json",
    "CREATE SECRET s (TYPE s3)",
    "SET threads = 1",
    "SET temp_directory = '/tmp'",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "SET TimeZone = 'Europe/Paris'",
    "RESET temp_directory",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CHECKPOINT",
    "VACUUM",
    "CREATE TABLE kept AS SELECT 1 AS x",
    "INSERT INTO records SELECT * FROM records",
    "DROP VIEW records",
    "SELECT getenv('HOME')",
    "FROM secret_table_of_python",
    "SELECT 1; SELECT 2",
    "",
]


@pytest.mark.parametrize("sql", CLOSED)
def test_the_doors_are_closed(sql: str, grant: Make) -> None:
    """Every statement about a file, a setting, an extension or a change is refused."""
    secret_table_of_python = pa.table({"x": [1]})

    with pytest.raises(QuestionError):
        put(sql, grant())
    assert secret_table_of_python.num_rows == 1


REACHING = ("/", "httpfs", "SET ", "SECRET", "INSTALL", "enable_profiling", "getenv", "python")


@pytest.mark.parametrize("sql", [sql for sql in CLOSED if any(word in sql for word in REACHING)])
def test_duckdb_itself_refuses(sql: str) -> None:
    """What reaches beyond the database is refused by DuckDB too, not only by the rule of one SELECT."""
    connection = database.locked(LIMITS)
    with pytest.raises(duckdb.Error):
        connection.execute(sql).fetchall()
    connection.close()


def test_time_is_utc(grant: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zone of the machine does not decide what day a record is of."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    engine._MADE.clear()
    late = pa.table({"start": pa.array([datetime(2026, 6, 10, 23, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))})

    answer = put("SELECT CAST(start AS DATE) AS day, start FROM records", grant(), late)

    assert str(answer["day"][0]) == "2026-06-10" and answer.schema.field("start").type == pa.timestamp("us", tz="UTC")
    monkeypatch.undo()
    time.tzset()


def test_a_runaway_question_is_stopped(grant: Make) -> None:
    """A question that takes longer than its limit is interrupted, and its watchdog ends with it."""
    before = time.monotonic()
    with pytest.raises(QuestionError, match=r"longer than 0\.3 seconds"):
        put(
            "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range <> b.range",
            grant(),
            limits=engine.Limits(0.3),
        )

    assert time.monotonic() - before < 60
    put("SELECT 1 AS one", grant())
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer) and thread.is_alive()]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT CAST(a_number || 'x' AS INTEGER) FROM records", "ConversionException"),
        ("SELECT no_such_column FROM records", "its SQL is wrong"),
        ("SELECT FROM WHERE", "its SQL is wrong"),
        ("SELECT error(a_number) FROM records", "InvalidInputException"),
    ],
)
def test_errors_tell_no_value(sql: str, words: str, grant: Make) -> None:
    """DuckDB quotes values in its errors; ours don't, nor does what they are chained to."""
    with pytest.raises(QuestionError, match=words) as stopped:
        put(sql, grant())

    assert A not in str(stopped.value)
    assert stopped.value.__cause__ is None and stopped.value.__context__ is None


def test_a_column_of_another_type() -> None:
    """Rows that are not of the record's types are refused without their values."""
    with pytest.raises(QuestionError, match="not of the type") as refused:
        engine.complete(pa.table({"duration_ms": [A + "x"]}), SCHEMA)
    assert A not in str(refused.value) and refused.value.__context__ is None


HUNGRY = """
import os, sys, tempfile
import pyarrow as pa
from queries import database, engine
from queries.questions import Question, QuestionError
marker = "MARKER" + "-31612345678-"
rows = pa.table({"a_number": [f"{marker}{n:09d}" * 6 for n in range(400_000)]})
sql = "SELECT a.a_number FROM records a JOIN records b USING (a_number) ORDER BY reverse(a_number)"
ask = Question("hungry", sql, "", "aggregate", frozenset(), frozenset(), frozenset(), (), {}, "all")
grant = engine.Grant(frozenset(), frozenset({"a_number"}))
try:
    list(engine.answers(ask, [rows], pa.table({"index": [1]}), grant, {}, engine.Limits(60.0, "48MB"), rows.schema))
except QuestionError as stopped:
    print(stopped)
found = [os.path.join(at, name) for at, _, names in os.walk(".") for name in names]
print(found, os.listdir("."))
"""


def test_more_memory_than_its_limit(grant: Make) -> None:
    """A question that needs more than its limit says so."""
    with pytest.raises(QuestionError, match="more than 64MB of memory; ask for a shorter window"):
        put("SELECT list(range) AS all FROM range(100000000)", grant(), limits=engine.Limits(60.0, "64MB"))


def test_out_of_memory_instead_of_spill(tmp_path: Path) -> None:
    """A question that outgrows its memory fails; nothing of its rows is written anywhere it could write."""
    root = Path(engine.__file__).parents[1]
    environment = {"PYTHONPATH": str(root), "TMPDIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    run = subprocess.run(
        [sys.executable, "-B", "-c", HUNGRY],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert "it needs more than 48MB of memory" in run.stdout
    assert "[] []" in run.stdout
    assert list(tmp_path.rglob("*")) == []


def test_shipped_questions_are_loaded_from_their_files() -> None:
    """What is asked is the reviewed text."""
    path = Path(engine.__file__).parent / "sql" / "activity.sql"
    assert load(path).text == path.read_text()
