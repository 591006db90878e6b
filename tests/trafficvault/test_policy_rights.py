"""The policy's part in customers' rights: what may be taken along, what is erased, by when a request is answered."""

from __future__ import annotations

import pytest

from trafficvault import erasure, policy_file
from trafficvault.errors import UsageError
from trafficvault.period import Period

HEAD = 'format = 1\nzone = "Europe/Amsterdam"\nregion = "NL"\n'


def entry(name: str, classes: str, *more: str) -> str:
    """One entry that keeps `classes`, with further lines."""
    texts = "".join(f'{key} = "x"\n' for key in ("service", "data", "controller", "legal_basis"))
    lines = "".join(f"{line}\n" for line in more)
    return f'[[entry]]\nid = "{name}"\n{texts}term = "P6M"\nclasses = {classes}\n{lines}'


def test_a_class_is_portable_by_one_entry_and_erasable_by_all() -> None:
    """Data kept for a contract may be taken along whatever else keeps it; it is erased when nothing else does."""
    text = HEAD + entry("a", '["telephony", "voip"]', "portable = true", "erasable = true") + entry("b", '["voip"]')
    found = policy_file.parse(text)
    assert found.portable().classes() == ["telephony", "voip"]
    assert found.erasable() == ["telephony"]
    assert erasure.kept_by(found) == {"voip": "still-needed"}
    lawful = policy_file.parse(text + 'purpose = "lawful-request"\n')
    assert erasure.kept_by(lawful) == {"voip": "legal-obligation"}


def test_portability_has_the_term_of_its_own_entry() -> None:
    """Another entry that keeps the class for longer does not make the portable part longer."""
    longer = entry("b", '["voip"]').replace("P6M", "P12M")
    found = policy_file.parse(HEAD + entry("a", '["voip"]', "portable = true") + longer)
    assert str(found.require_term("voip").lasts) == "P1Y"
    assert str(found.portable().require_term("voip").lasts) == "P6M"


def test_what_is_left_out_changes_no_digest() -> None:
    """A policy that says nothing of rights, and one that says the defaults, are the same policy."""
    plain = policy_file.parse(HEAD + entry("a", '["voip"]'))
    told = policy_file.parse('rights_deadline = "P1M"\n' + HEAD + entry("a", '["voip"]', "portable = false"))
    other = policy_file.parse('rights_deadline = "P14D"\n' + HEAD + entry("a", '["voip"]'))
    assert plain.digest == told.digest
    assert (
        len({plain.digest, other.digest, policy_file.parse(HEAD + entry("a", '["voip"]', "erasable = true")).digest})
        == 3
    )
    assert (plain.rights_deadline, other.rights_deadline) == (Period(months=1), Period(days=14))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('rights_deadline = "P0D"\n' + HEAD + entry("a", '["voip"]'), "rights_deadline is a period of no length"),
        (HEAD + entry("a", '["voip"]', 'portable = "yes"'), "portable must be true or false"),
    ],
)
def test_what_can_not_be_meant_is_refused(text: str, reason: str) -> None:
    """A deadline of nothing, and a word where yes or no is expected."""
    with pytest.raises(UsageError, match=reason):
        policy_file.parse(text)
