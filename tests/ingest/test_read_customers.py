"""Whose numbers a file tells: the customer of its source, and extensions that reach no other customer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.source import NumberPlan
from tests.ingest.shipped_feeds import (
    accounted,
    reading,
    rows,
)


def test_a_file_speaks_for_the_customer_of_its_source() -> None:
    """A record may repeat the customer of its source; another one makes it a rejection that names neither."""
    data = "class,start,customer\n" + "".join(
        f"voip,2026-02-03T10:00:00Z,{name}\n" for name in ("slager", "", "bakker")
    )
    found = reading("native_csv", data, customer="bakker")

    assert found.records["voip"]["customer"].to_list() == ["bakker", "bakker"]
    assert found.rejections.to_pylist() == [
        {"row": 2, "reason": "customer is not that of the source", "raw": b"voip,2026-02-03T10:00:00Z,slager"}
    ]
    assert reading("native_csv", data).records["voip"]["customer"].to_list() == ["slager", None, "bakker"]


FOREIGN = "extension of another customer"
PLANTED = ["a_number", "b_number", "c_number", "a_asserted", "other_parties"]


def planted(column: str, number: str) -> str:
    """A record of the native feed in which `column` holds that extension."""
    record: dict[str, Any] = {"class": "voip", "start": "2026-02-03T10:00:00Z", column: number}
    if column == "other_parties":
        record[column] = [{"role": "conference", "number": "+31612345678"}, {"role": "conference", "number": number}]
    if column[1:] == "_number":
        record[f"{column[0]}_kind"] = "extension"
    return json.dumps(record) + "\n"


@pytest.mark.parametrize("column", PLANTED)
def test_no_file_reaches_the_extensions_of_another_customer(column: str) -> None:
    """An extension under another owner is a rejection wherever it stands, and its neighbours are stored."""
    numbers = ["1001@beta", "1001@alpha", "1001@b@alpha", "1001@alpha@beta", "1001@", "1001@Alpha"]
    found = reading("native_ndjson", "".join(planted(column, number) for number in numbers), customer="alpha")

    assert accounted(found) == found.units == 6
    assert [(row["row"], row["reason"]) for row in found.rejections.to_pylist()] == [
        (row, FOREIGN) for row in (1, 3, 4, 5, 6)
    ]
    (row,) = rows(found, "voip")
    assert "1001@alpha" in str(row[column])


@pytest.mark.parametrize("column", PLANTED)
def test_extensions_of_a_source_without_customer(column: str) -> None:
    """Without a customer the source owns its extensions by its name, or the customer that a record itself tells."""
    own, foreign = planted(column, "1001@native_ndjson"), planted(column, "1001@beta")
    told = foreign.replace("{", '{"customer": "beta", ', 1)
    found = reading("native_ndjson", own + foreign + told + own.replace("{", '{"customer": "beta", ', 1))

    assert [(row["row"], row["reason"]) for row in found.rejections.to_pylist()] == [(2, FOREIGN), (4, FOREIGN)]
    assert [row.get("customer") for row in rows(found, "voip")] == [None, "beta"]


def test_extensions_by_number_plan_are_of_the_customer_that_the_record_tells() -> None:
    """A number that the plan makes an extension gets the owner of its row, in every place that holds a party."""
    lines = [
        {"class": "voip", "start": "2026-02-03T10:00:00Z", "a_number": "1001", "b_number": "0612345678"},
        {"class": "voip", "start": "2026-02-03T10:00:00Z", "a_number": "1001", "customer": "beta"},
        {"class": "voip", "start": "2026-02-03T10:00:00Z", "a_number": "1001", "a_kind": "extension", "customer": "x"},
    ]
    data = "".join(json.dumps(line) + "\n" for line in lines)
    plan = NumberPlan(extension=(2, 5))

    found = rows(reading("native_ndjson", data, number_plan=plan), "voip")
    assert [row["a_number"] for row in found] == ["1001@native_ndjson", "1001@beta", "1001@x"]
    assert found[0]["b_number"] == "+31612345678"


def test_an_address_of_another_host_is_no_extension() -> None:
    """A SIP address keeps its host; an extension without digits is not of its form."""
    data = planted("b_number", "sip:1001@beta.example").replace('"extension"', '"uri"') + planted("a_number", "@alpha")
    found = reading("native_ndjson", data + planted("a_asserted", "sip:jan@beta.example"), customer="alpha")

    assert [row["b_number"] for row in rows(found, "voip")] == ["sip:1001@beta.example", None]
    assert [row["reason"] for row in found.rejections.to_pylist()] == ["a_number is not of its form"]
