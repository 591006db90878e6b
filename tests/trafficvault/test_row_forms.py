"""The form that a row's seal is taken over is the canonical one, however it is made."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficvault import row_forms, signing
from trafficvault.tables import SEAL, TABLES

VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"]))


@given(st.data(), st.sampled_from(sorted(TABLES)), st.booleans())
def test_it_is_the_canonical_form(data: st.DataObject, name: str, sealed: bool) -> None:
    """A row of any texts and numbers has the form that `signing.canonical` gives it; its seal is no part of that."""
    table = TABLES[name]
    row = {column.name: data.draw(VALUES) for column in table.columns if column.name != SEAL}

    form = row_forms.canonical(table, row | {SEAL: "s"} if sealed else row, SEAL)

    assert form == signing.canonical({"table": name, "row": row})


@pytest.mark.parametrize("row", [{"key": "k"}, {"key": "k", "value": "v", "more": 1}, {"key": "k", "other": None}])
def test_a_row_of_other_columns_has_its_own_form(row: dict[str, object]) -> None:
    """Columns that lack, or are too many, as in a vault of another version, stand in the form as they are."""
    form = row_forms.canonical(TABLES["meta"], row, SEAL)

    assert json.loads(form) == {"table": "meta", "row": row}


def test_a_truth_is_no_number() -> None:
    """What is no text, number or null is written as JSON writes it, or refused."""
    form = row_forms.canonical(TABLES["meta"], {"key": "k", "value": True}, SEAL)

    assert form == b'{"row":{"key":"k","value":true},"table":"meta"}'
    with pytest.raises(TypeError, match="float"):
        row_forms.canonical(TABLES["meta"], {"key": "k", "value": 1.5}, SEAL)
