"""ClickHouse, embedded (`chdb`), as a peer: typed MergeTree tables by day, plain and with skip indexes.

The plain table is what an engineer would load the delivered file into: partition by day, order by subscriber and time.
The indexed one has a bloom filter on every other identifier that the vault looks up, and is merged before it is asked.
Settings are its own defaults, and times are read by the faster of its two functions: `parseDateTime` with a format
takes half as long again. Nothing is encrypted, deduplicated, validated, audited or synced to disk.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.ipc

from benchmarks.peers.peer import Lap, PeerFault, PeerMissing
from benchmarks.traffic import FIELDS

NAME = "ClickHouse"


@dataclass(frozen=True, slots=True)
class Layout:
    """How one kind of delivered file becomes a table: columns as `name type = expression`, order, what has a filter."""

    columns: tuple[tuple[str, str, str], ...]
    order: str
    filters: tuple[str, ...]
    format: str
    structure: str
    settings: str = ""

    def create(self, table: str, *, indexed: bool) -> str:
        """The statement that makes an empty table."""
        lines = [f"{name} {type_}" for name, type_, _ in self.columns]
        if indexed:
            lines += [f"INDEX by_{name} {name} TYPE bloom_filter GRANULARITY 1" for name in self.filters]
        body = ", ".join(lines)
        return f"CREATE TABLE {table} ({body}) ENGINE = MergeTree PARTITION BY toYYYYMMDD(start) ORDER BY {self.order}"

    def insert(self, table: str, path: Path) -> str:
        """The statement that loads one delivered file."""
        chosen = ", ".join(f"{expression} AS {name}" for name, _, expression in self.columns)
        named = str(path).replace("\\", "\\\\").replace("'", "\\'")
        text = f"INSERT INTO {table} SELECT {chosen} FROM file('{named}', '{self.format}', '{self.structure}')"
        return f"{text} SETTINGS {self.settings}" if self.settings else text


_FEW = "LowCardinality(String)"
_WHOLE = {**dict.fromkeys((5, 6, 9, 10, 25), "UInt64"), **dict.fromkeys((8, 22), "UInt32")}
"""The fields of an MVNO pipe file that are read as whole numbers."""
_TIMES = (
    ("start", "DateTime('UTC')", "parseDateTimeBestEffort(`s`, 'UTC')"),
    ("end", "DateTime('UTC')", "parseDateTimeBestEffort(`e`, 'UTC')"),
)

USAGE = Layout(
    columns=(
        ("event", _FEW, "c1"),
        ("a", "String", "c2"),
        ("b", "String", "c3"),
        ("dialled", "String", "c4"),
        ("msisdn", "UInt64", "c5"),
        ("imsi", "UInt64", "c6"),
        ("start", "DateTime('UTC')", "parseDateTimeBestEffort(concat(c7, c14), 'UTC')"),
        ("duration", "UInt32", "c8"),
        ("down", "UInt64", "c9"),
        ("up", "UInt64", "c10"),
        ("plmn", _FEW, "c11"),
        ("apn", _FEW, "c13"),
        ("utc_offset", _FEW, "c14"),
        ("quantity", "UInt8", "c22"),
        ("customer", "String", "c23"),
        ("call_id", "UInt64", "c25"),
    ),
    order="(msisdn, start)",
    filters=("a", "b", "imsi", "customer"),
    format="CSV",
    structure=", ".join(f"c{number} {_WHOLE.get(number, 'String')}" for number in range(1, FIELDS + 1)),
    settings="format_csv_delimiter = '|'",
)
CALLS = Layout(
    columns=(
        ("record_id", "String", "record_id_"),
        *_TIMES,
        ("served", _FEW, "served_"),
        ("a", "String", "a_number"),
        ("b", "String", "b_number"),
        ("imsi", "UInt64", "imsi_"),
        ("imei", "String", "imei_"),
        ("start_cell", _FEW, "start_cell_"),
        ("end_cell", _FEW, "end_cell_"),
        ("direction", _FEW, "direction_"),
        ("duration", "UInt64", "duration_ms"),
    ),
    order="(a, start)",
    filters=("b", "imsi", "imei", "start_cell", "end_cell"),
    format="CSV",
    structure="class String, record_id_ String, `s` String, `e` String, served_ String, a_number String, "
    "b_number String, imsi_ UInt64, imei_ String, start_cell_ String, end_cell_ String, event String, "
    "direction_ String, duration_ms UInt64",
    settings="input_format_csv_skip_first_lines = 1",
)
_SESSION = "class String, record_id_ String, `s` String, `e` String, public_ip_ String, from_ UInt16, to_ UInt16, "
SESSIONS = Layout(
    columns=(
        ("record_id", "String", "record_id_"),
        *_TIMES,
        ("public_ip", "IPv6", "toIPv6(public_ip_)"),
        ("port_from", "UInt16", "from_"),
        ("port_to", "UInt16", "to_"),
        ("subscriber", "String", "subscriber_"),
        ("up", "UInt64", "up_"),
        ("down", "UInt64", "down_"),
    ),
    order="(public_ip, start)",
    filters=("subscriber",),
    format="CSV",
    structure=_SESSION + "subscriber_ String, event String, up_ UInt64, down_ UInt64",
    settings="input_format_csv_skip_first_lines = 1",
)
BINDINGS = Layout(
    columns=(
        ("record_id", "String", "record_id_"),
        *_TIMES,
        ("public_ip", "IPv6", "toIPv6(public_ip_)"),
        ("port_from", "UInt16", "from_"),
        ("port_to", "UInt16", "to_"),
        ("prefix_length", "UInt8", "length_"),
        ("subscriber", "String", "subscriber_"),
    ),
    order="(public_ip, start)",
    filters=("subscriber",),
    format="CSV",
    structure=_SESSION + "subscriber_ String, event String, length_ UInt8",
    settings="input_format_csv_skip_first_lines = 1",
)
MAILS = Layout(
    columns=(
        ("record_id", "String", "record_id_"),
        ("start", "DateTime('UTC')", "parseDateTimeBestEffort(`s`, 'UTC')"),
        ("mail_from", "String", "from_"),
        ("mail_to", "Array(String)", "JSONExtract(to_, 'Array(String)')"),
        ("count", "UInt16", "count_"),
    ),
    order="(mail_from, start)",
    filters=("mail_to",),
    format="CSV",
    structure="class String, record_id_ String, `s` String, served String, from_ String, to_ String, event String, "
    "count_ UInt16",
    settings="input_format_csv_skip_first_lines = 1",
)


class ClickHouse:
    """One embedded ClickHouse with its database in `directory`. Use as a context; raises `PeerMissing` when absent."""

    def __init__(self, directory: Path) -> None:
        if importlib.util.find_spec("chdb") is None:
            raise PeerMissing("chdb is not installed; `make bench` installs it")
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        child = Path(__file__).with_name("clickhouse_child.py")
        self._process = subprocess.Popen(
            [sys.executable, str(child), str(directory / "database")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        hello = self._line()
        self.version = f"{NAME} {hello['engine']} (chdb {hello['version']})"
        self._tables: dict[str, Layout] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process; its database stays until the directory is removed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def empty(self, table: str, layout: Layout, *, indexed: bool = False) -> None:
        """Makes `table` anew, without a row."""
        self.run(f"DROP TABLE IF EXISTS {table} SYNC")
        self.run(layout.create(table, indexed=indexed))
        self._tables[table] = layout

    def load(self, table: str, path: Path) -> Lap:
        """Loads one delivered file."""
        return self.run(self._tables[table].insert(table, path))

    def merge(self, table: str) -> Lap:
        """Merges each day of `table` into one part."""
        return self.run(f"OPTIMIZE TABLE {table} FINAL")

    def size(self, table: str) -> int:
        """The bytes on disk of the living parts of `table`, indexes included."""
        answer = self.ask(f"SELECT sum(bytes_on_disk) AS size FROM system.parts WHERE active AND table = '{table}'")
        return int(answer[1]["size"][0].as_py())

    def count(self, table: str) -> int:
        """How many rows `table` has."""
        return int(self.ask(f"SELECT count() AS rows FROM {table}")[1]["rows"][0].as_py())

    def run(self, sql: str) -> Lap:
        """Runs a statement without an answer."""
        return self._send(sql, None)

    def ask(self, sql: str) -> tuple[Lap, pa.Table]:
        """The rows that `sql` selects, as they are handed out in Arrow form."""
        into = self._directory / "answer.arrow"
        lap = self._send(sql, into)
        table = pyarrow.ipc.open_file(pa.BufferReader(into.read_bytes())).read_all()
        into.unlink()
        return lap, table

    def _send(self, sql: str, into: Path | None) -> Lap:
        assert self._process.stdin is not None
        print(json.dumps({"sql": sql, "into": str(into) if into else None}), file=self._process.stdin, flush=True)
        answer = self._line()
        if "error" in answer:
            raise PeerFault(f"asking {NAME}: {answer['error']}")
        return Lap(answer["seconds"], answer["cpu"])

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerFault(f"asking {NAME}: its process ended with status {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found
