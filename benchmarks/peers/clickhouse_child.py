"""ClickHouse in a process of its own, for `benchmarks.peers.clickhouse`: its memory and threads touch nothing else.

One JSON object per line in, one out. In: `sql`, and `into`, a path to which the answer is written as an Arrow file, or
null. Out: `seconds` and `cpu` of the statement alone, or `error`. Ends when its input does. Started as
`python clickhouse_child.py DIRECTORY`, which becomes the database.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Answers statements until the input ends."""
    import chdb

    connection = chdb.connect(sys.argv[1])
    print(json.dumps({"version": chdb.__version__, "engine": str(connection.query("SELECT version()")).strip('"\n')}))
    sys.stdout.flush()
    for line in sys.stdin:
        print(json.dumps(_answer(connection, json.loads(line))), flush=True)
    connection.close()


def _answer(connection: Any, asked: dict[str, Any]) -> dict[str, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        answer = connection.query(asked["sql"], "Arrow" if asked["into"] else "Null")
    except RuntimeError as problem:
        return {"error": str(problem)}
    done = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    if asked["into"]:
        Path(asked["into"]).write_bytes(answer.bytes())
    return done


if __name__ == "__main__":
    main()
