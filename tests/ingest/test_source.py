"""Number plans that contradict themselves are refused where they are written."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.errors import FeedError, IngestError
from ingest.source import NumberPlan


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"country": "NL"}, "country must be digits"),
        ({"country": ""}, "country must be an assigned country code"),
        ({"country": "999"}, "country must be an assigned country code"),
        ({"international": "+"}, "international must be digits"),
        ({"area": "٢٠"}, "area must be digits"),
        ({"bare": "local"}, "bare must be one of unknown, national"),
        ({"extension": (4, 3)}, "extension must be two lengths"),
        ({"extension": (0, 3)}, "extension must be two lengths"),
        ({"extension": (3, 16)}, "extension must be two lengths"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused_with_what_is_wrong(wrong: dict[str, Any], sentence: str) -> None:
    """A number plan names the setting that is wrong."""
    with pytest.raises(FeedError, match=sentence):
        NumberPlan(**wrong)


def test_a_plan_may_have_no_trunk_prefix() -> None:
    """A country without trunk prefix is a plan like any other."""
    assert NumberPlan(country="34", national="").national == ""
    assert issubclass(FeedError, IngestError)
