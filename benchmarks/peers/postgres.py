"""PostgreSQL as a peer: a server of its own, started from the Debian package for the benchmark and stopped by its end.

It listens on a Unix socket in a temporary directory and nowhere else, with the durable settings that `initdb` gives.
Started by root it runs as user `postgres`. The table is partitioned by day and has five lookup indexes; a delivered
file goes in by `COPY`, in one transaction. `COPY` can't read the delivered form of a time: `readable` writes it the way
it does, untimed, which is work that the others are timed doing.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.peers.peer import Lap, PeerFault, PeerMissing

NAME = "PostgreSQL"
_USER = "postgres"
_PROGRAMS = Path("/usr/lib/postgresql")
_CHUNK = 1 << 20
_PATIENCE = 30.0
"""Seconds that the server has to start."""
_PR_SET_PDEATHSIG = 1
_STAMP = re.compile(rb"\|(20[0-9]{6})([0-9]{6})\|")
_COLUMNS = (
    "record_type text",
    "number_a text",
    "number_b text",
    "number_dialed text",
    "msisdn bigint",
    "imsi bigint",
    "event_timestamp timestamp",
    "duration integer",
    "download bigint",
    "upload bigint",
    "operator_code text",
    "prerated_amount numeric",
    "apn text",
    "utc_offset text",
    "reserved text",
    "tele_service text",
    "bearer_service text",
    "overseas text",
    "video text",
    "source_file text",
    "service_id text",
    "quantity smallint",
    "customer_number text",
    "description text",
    "call_id bigint",
)
INDEXED = ("number_a", "number_b", "msisdn", "imsi", "event_timestamp")


class PostgreSQL:
    """One server. Use as a context; raises `PeerMissing` when the server or its client is not installed."""

    def __init__(self) -> None:
        programs = sorted(_PROGRAMS.glob("*/bin"), key=lambda path: int(path.parent.name))
        if not programs:
            raise PeerMissing(f"there is no {NAME} in {_PROGRAMS}; `apt-get install postgresql` installs it")
        if importlib.util.find_spec("psycopg") is None:
            raise PeerMissing("psycopg is not installed; `make bench` installs it")
        self._client: Any = importlib.import_module("psycopg")
        self._programs = programs[-1]
        self._directory = Path(tempfile.mkdtemp(prefix="bench-postgres-"))
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops the server and removes its database."""
        connection, server = getattr(self, "_connection", None), getattr(self, "_server", None)
        if connection is not None:
            connection.close()
        if server is not None:
            server.send_signal(signal.SIGINT)  # a fast shutdown
            server.wait(timeout=60)
        shutil.rmtree(self._directory)

    def empty(self, first: date, days: int) -> None:
        """Makes the table `usage` anew, without a row, with a partition for each of `days` days from `first` on."""
        statements = ["DROP TABLE IF EXISTS usage"]
        statements.append(f"CREATE TABLE usage ({', '.join(_COLUMNS)}) PARTITION BY RANGE (event_timestamp)")
        statements += [f"CREATE INDEX ON usage ({column})" for column in INDEXED]
        for number in range(days):
            day = first + timedelta(days=number)
            bounds = f"FROM ('{day}') TO ('{day + timedelta(days=1)}')"
            statements.append(f"CREATE TABLE usage_{day:%Y%m%d} PARTITION OF usage FOR VALUES {bounds}")
        for statement in statements:
            self._connection.execute(statement)
        self._connection.commit()
        self._connection.execute("CHECKPOINT")
        self._connection.commit()

    def readable(self, path: Path) -> Path:
        """A copy of a delivered MVNO pipe file, beside it, with a T between date and time."""
        changed = path.with_name(f"{path.name}.copy")
        with path.open("rb") as file, changed.open("wb") as copy:
            for line in file:
                copy.write(_STAMP.sub(rb"|\1T\2|", line, count=1))
        return changed

    def load(self, path: Path) -> Lap:
        """Loads a file that `readable` made; its CPU seconds are those of the server's process for this session."""
        wall, cpu = time.perf_counter(), self._cpu()
        statement = "COPY usage FROM STDIN (FORMAT text, DELIMITER '|', NULL '')"
        with self._connection.cursor() as cursor, path.open("rb") as file, cursor.copy(statement) as copy:
            while chunk := file.read(_CHUNK):
                copy.write(chunk)
        self._connection.commit()
        return Lap(time.perf_counter() - wall, self._cpu() - cpu)

    def count(self) -> int:
        """How many rows there are."""
        return int(self._connection.execute("SELECT count(*) FROM usage").fetchone()[0])

    def size(self) -> int:
        """The bytes on disk of the table and its indexes."""
        asked = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('usage')"
        return int(self._connection.execute(asked).fetchone()[0])

    def _start(self) -> None:
        data = str(self._directory / "data")
        as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            owner = pwd.getpwnam(_USER)
            os.chown(self._directory, owner.pw_uid, owner.pw_gid)
            as_user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        make: list[str] = [str(self._programs / "initdb"), "-D", data, "-U", _USER, "--auth=trust", "--encoding=UTF8"]
        done = subprocess.run(make, cwd=self._directory, capture_output=True, text=True, check=False, **as_user)
        if done.returncode:
            raise PeerFault(f"making a database for {NAME}: {done.stderr.strip()}")
        serve: list[str] = [str(self._programs / "postgres"), "-D", data, "-c", "listen_addresses="]
        serve += ["-c", f"unix_socket_directories={self._directory}"]
        with (self._directory / "log").open("wb") as log:
            self._server = subprocess.Popen(
                serve, cwd=self._directory, stdout=log, stderr=log, preexec_fn=_end_with_parent, **as_user
            )
        self._connection = self._connected()
        self.version = f"{NAME} {self._connection.info.parameter_status('server_version')}"
        self._connection.commit()

    def _connected(self) -> Any:
        """A connection, as soon as the server takes one."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._client.connect(host=str(self._directory), user=_USER, dbname="postgres")
            except self._client.OperationalError as problem:
                if self._server.poll() is not None or time.monotonic() > until:
                    log = (self._directory / "log").read_text(errors="replace")
                    raise PeerFault(f"starting {NAME}: it takes no connection: {log[-500:]}") from problem
            time.sleep(0.1)

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self._connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _end_with_parent() -> None:
    """Has the server stop when the benchmark is killed: it would outlive it, with its database."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
