"""`vault.toml`: written by `init`, read by everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficvault.errors import UsageError
from trafficvault.settings import Settings, faults, new_text, parse

ID, KEY = "0123456789abcdef" * 2, "0f" * 32
TEXT = new_text(ID, KEY)


def test_a_new_vault_s_file_gives_its_settings_back() -> None:
    """`new_text` and `parse` are inverses, and the file spells the defaults out."""
    assert parse(TEXT) == Settings(ID, KEY)
    assert parse(f'kind = "trafficvault"\nformat = 1\nid = "{ID}"\npublic_key = "{KEY}"\n') == Settings(ID, KEY)
    assert faults(TEXT) == []


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32))
def test_any_id_and_key_come_back(vault_id: bytes, key: bytes) -> None:
    """No hex digits are special."""
    assert parse(new_text(vault_id.hex(), key.hex())) == Settings(vault_id.hex(), key.hex())


def test_the_limits_are_the_operator_s_to_set() -> None:
    """Sizes are given as text with a unit or in bytes; a question's memory stays text, as the engine reads it."""
    text = TEXT.replace("256MiB", "10MB").replace('"1GB"', '"500 MiB"').replace("600", "5").replace("60 ", "0 ")
    found = parse(text)

    assert (found.max_file, found.question_memory, found.question_seconds, found.lease_seconds) == (
        10**7,
        "500MiB",
        5,
        0,
    )
    assert parse(TEXT.replace('"1GB"', "100000000")).question_memory == "100000000B"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kind = "trafficvault"', 'kind = "policy"', "kind is 'policy'"),
        ("format = 1", "format = 2", "format 2 and this program reads format 1"),
        ("format = 1", "format = 0", "format is 0"),
        ("format = 1", "", "format is missing"),
        (ID, ID[1:], "id must be 32 lower-case hex digits"),
        (KEY, "Z" * 64, "public_key must be 64 lower-case hex digits"),
        ("max_file", "max_fiel", "unknown key 'max_fiel', did you mean 'max_file'"),
        ('"256MiB"', "0", "max_file is 0"),
        ('"1GB"', '"1MB"', "question_memory is 1000000 bytes"),
        ("= 600", "= 0", "question_seconds is 0; it must be from 1"),
        ("= 60 ", "= 4000 ", "lease_seconds is 4000"),
        ('kind = "', "kind = ", "it is not TOML"),
    ],
)
def test_a_wrong_setting_is_refused_in_a_sentence(old: str, new: str, words: str) -> None:
    """Unknown versions, keys and values are never guessed at."""
    text = TEXT.replace(old, new)

    with pytest.raises(UsageError, match=words):
        parse(text)
    assert words in faults(text)[0]
