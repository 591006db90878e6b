"""Numbers against oracles: phonenumbers, the Dutch plan, and each text alone as in company."""

from __future__ import annotations

import phonenumbers
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.countries import COUNTRY_CODES
from ingest.record import KINDS
from ingest.source import NumberPlan
from tests.ingest.number_plans import AREA, INTERNATIONAL, NATIONAL, PBX, PLAIN, TRUNK, read
from tests.thorough import as_many


@st.composite
def _valid(draw: st.DrawFn) -> str:
    """A valid number of some country, its last digits changed where that leaves it valid; in E.164 form."""
    region = draw(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
    kind = draw(st.sampled_from([phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE]))
    example = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
    assert example is not None
    text = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    changed = text[:-3] + draw(st.text("0123456789", min_size=3, max_size=3))
    return changed if phonenumbers.is_valid_number(phonenumbers.parse(changed)) else text


@settings(max_examples=as_many(20), deadline=None)
@given(st.lists(_valid(), min_size=1, max_size=30))
def test_what_phonenumbers_calls_valid_is_e164(numbers: list[str]) -> None:
    """Every valid number of every country is E.164 in each of its international forms."""
    for form in ("{}", "00{}", "tel:+{}", "sip:+{}@host.example"):
        raw = [text if form == "{}" else form.format(text[1:]) for text in numbers]
        found = read(list[str | None](raw), INTERNATIONAL)
        assert [(row["number"], row["kind"]) for row in found] == [(text, "e164") for text in numbers]


_DUTCH = st.one_of(
    st.from_regex(r"\A6[1-58][0-9]{7}\Z"),
    st.from_regex(r"\A97[0-9]{9}\Z"),
    st.from_regex(r"\A(20|30|40|70|10|113|226|411)[1-9][0-9]{5,6}\Z"),
    st.from_regex(r"\A(85|88)[0-9]{7}\Z"),
    st.from_regex(r"\A(800|900|906|909)[0-9]{3,8}\Z"),
    st.from_regex(r"\A[0-9]{3,12}\Z"),
)


@settings(max_examples=as_many(40), deadline=None)
@given(st.lists(_DUTCH, min_size=1, max_size=40))
def test_dutch_national_numbers_agree_with_phonenumbers(numbers: list[str]) -> None:
    """A valid Dutch number is E.164 (or a service number, when toll-free or premium); E.164 has the national length."""
    kinds = phonenumbers.PhoneNumberType
    for nsn, found in zip(numbers, read([f"0{nsn}" for nsn in numbers]), strict=True):
        if nsn.startswith("0"):
            continue
        known = phonenumbers.PhoneNumber(country_code=31, national_number=int(nsn))
        is_valid = phonenumbers.is_valid_number(known)
        if is_valid and phonenumbers.number_type(known) in (kinds.TOLL_FREE, kinds.PREMIUM_RATE):
            assert (found["number"], found["kind"]) == (f"0{nsn}", "service")
        elif is_valid and not nsn.startswith("14"):
            assert (found["number"], found["kind"]) == (f"+31{nsn}", "e164")
        if found["kind"] == "e164":
            assert len(nsn) == (11 if nsn.startswith("97") else 9)


_LETTERS = st.characters(codec="utf-8", exclude_characters="\x1c\x1d\x1e\x1f")
"""All characters but four separators that are blanks to Python and to nobody else."""
_ODD = st.one_of(
    st.text(_LETTERS, max_size=25),
    st.text("0123456789+*#;@:<>%sip.tel ()-", max_size=25),
    st.from_regex(r"\A(\+|00|0)?[0-9]{1,20}\Z"),
    st.none(),
)
_PLANS = st.sampled_from([PLAIN, INTERNATIONAL, NATIONAL, AREA, PBX, TRUNK])


@settings(max_examples=as_many(25), deadline=None)
@given(st.lists(_ODD, min_size=1, max_size=8), _PLANS)
def test_any_text_becomes_a_party_alone_as_in_company(raw: list[str | None], plan: NumberPlan) -> None:
    """Whatever a file holds, a row is read by itself: kinds are known, E.164 is of its form, raw is lost nowhere."""
    found = read(raw, plan)

    for text, row in zip(raw, found, strict=True):
        assert [row] == read([text], plan)
        assert (row["kind"] is None) == (row["number"] is None)
        if row["kind"] is None:
            assert row["withheld"]
        else:
            assert row["kind"] in KINDS
        if row["kind"] == "e164":
            assert any(row["number"][1 : 1 + size] in COUNTRY_CODES for size in (1, 2, 3))
            assert 8 <= len(row["number"]) <= 16
        if row["kind"] == "extension":
            assert row["number"].endswith("@acme")
        is_given = row["number"] is not None and text in (
            row["number"],
            row["number"][1:] if row["kind"] == "e164" else None,
        )
        assert (row["raw"] is None) == (is_given or text is None or text.strip() == "")
        assert row["raw"] in (None, text)


@settings(max_examples=as_many(25), deadline=None)
@given(st.text("0123456789", min_size=1, max_size=15), st.booleans())
def test_extensions_and_short_numbers_never_become_e164(digits: str, in_sip: bool) -> None:
    """What is as long as an extension, or shorter than a country allows, is never E.164."""
    raw = f"sip:{digits}@host.example" if in_sip else digits
    for plan in (PBX, INTERNATIONAL, NATIONAL, AREA):
        (found,) = read([raw], plan)
        if len(digits) <= 5:
            assert found["kind"] != "e164"
        if plan is PBX and 3 <= len(digits) <= 4 and not digits.startswith("0") and digits not in ("112", "911"):
            assert found["number"] == f"{digits}@acme"
