"""The files are the open standard, not ours alone: a script that knows FORMAT.md and nothing of us reads them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.record import CLASSES, COLUMNS
from tests.trafficvault.read_by_format import plain
from tests.trafficvault.record_file import write_file
from tests.trafficvault.sealed_store import DAY, VAULT_ID, Store, full_table, new_store
from trafficvault.layout import day_key_id
from trafficvault.ring import UNDATED

SCRIPT = Path(__file__).with_name("read_by_format.py")
FORMAT = Path(__file__).resolve().parents[2] / "trafficvault" / "FORMAT.md"
ROWS = 300


def run(store: Store, record_class: str, file_id: str) -> subprocess.CompletedProcess[str]:
    """The script, in a process and directory of its own."""
    where = [str(store.layout.vault), str(store.layout.keys), VAULT_ID, record_class, DAY.isoformat(), file_id]
    return subprocess.run(
        [sys.executable, str(SCRIPT), *where],
        cwd=store.layout.vault,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_script_imports_nothing_of_ours() -> None:
    """Its imports are Python, cryptography, Polars and pyarrow."""
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}

    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names == {
        "cryptography",
        "polars",
        "pyarrow",
    }


@pytest.mark.parametrize("record_class", ["mobile_usage", "telephony"])
def test_a_stranger_reads_a_partition_by_the_format_alone(tmp_path: Path, record_class: str) -> None:
    """From the root key to the rows, through Polars and through pyarrow, after a renewal too."""
    store, table = new_store(tmp_path, (record_class,)), full_table(ROWS)
    file = write_file(store.disk, store.layout, store.custody, record_class, DAY, table)
    store.destroy("telephony/2020-01-01/who")
    done = run(store, record_class, file.file_id)

    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert rows["polars"] == rows["pyarrow"] == plain(table.to_pylist())


def test_a_stranger_with_todays_keys_reads_no_expired_day(tmp_path: Path) -> None:
    """A copy of the file from before the expiry is of no use."""
    store = new_store(tmp_path)
    file = write_file(store.disk, store.layout, store.custody, "mobile_usage", DAY, full_table(2))
    store.destroy(*(name for name in store.keys.key_ids() if name.startswith("mobile_usage/")))
    done = run(store, "mobile_usage", file.file_id)

    assert done.returncode == 1
    assert done.stdout == ""
    assert f"KeyError: '{day_key_id('mobile_usage', DAY, 'frame')}'" in done.stderr


def test_the_format_names_every_column_with_its_type_and_category() -> None:
    """The table of FORMAT.md is the record."""
    table = re.search(r"<!-- columns -->\n(.*)<!-- /columns -->", FORMAT.read_text(encoding="utf-8"), re.DOTALL)
    assert table is not None
    rows = [line.strip("|").split(" | ") for line in table[1].splitlines()[2:]]

    assert [tuple(cell.strip() for cell in row) for row in rows] == [
        (f"`{column.name}`", f"`{column.type}`", column.category, column.meaning) for column in COLUMNS
    ]


def test_the_format_names_every_class_and_undated_key() -> None:
    """What may stand in a path or a key id is listed."""
    text = FORMAT.read_text(encoding="utf-8")

    assert [name for name in (*CLASSES, *UNDATED) if f"`{name}`" not in text] == []
