"""Terms: how long something is kept, as data."""

from __future__ import annotations

import pytest

from trafficvault.errors import UsageError
from trafficvault.terms import Term


def test_a_term_without_an_end_has_no_length() -> None:
    """Nobody computes with a term that is only printed."""
    term = Term(until="end_of_service")

    assert not term.ends
    assert str(term) == "until end_of_service, after P0D"
    with pytest.raises(UsageError, match="it has no end"):
        assert term.lasts.months
