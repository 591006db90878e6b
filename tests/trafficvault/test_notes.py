"""Signed notes and checkpoints: the reference implementation's own example, and everything that is no note."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trafficvault.log_house import SIGNING_KEY
from trafficvault import notes, signing
from trafficvault.errors import FaultError
from trafficvault.notes import Checkpoint

# The example of golang.org/x/mod/sumdb/note, the reference implementation of c2sp.org/signed-note.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PRIVATE = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
LINE = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
NAME, PUBLIC = "PeterNeumann", base64.b64decode(VKEY.split("+", 2)[2])[1:].hex()

ORIGIN, KEY = "trafficvault/0123", signing.public_key_of(SIGNING_KEY)


def test_the_reference_example_is_made_and_opened() -> None:
    """Key, signature line and text of the published example come out of ours byte for byte."""
    assert notes.verifier_key(NAME, PUBLIC) == VKEY
    assert notes.sign_note(TEXT, NAME, PRIVATE) == f"{TEXT}\n{LINE}"
    assert notes.open_note(f"{TEXT}\n{LINE}", NAME, PUBLIC) == TEXT


def test_lines_of_others_are_passed_over() -> None:
    """A witness may sign beside us, before or after; our own line is found, and its failing is never made up for."""
    other = "— witness.example/w1 AAAAAAECAwQF\n"
    assert notes.open_note(f"{TEXT}\n{other}{LINE}{other}", NAME, PUBLIC) == TEXT
    bad = base64.b64encode(notes.key_id(NAME, PUBLIC) + bytes(64)).decode()
    with pytest.raises(FaultError, match="signature is not that"):
        notes.open_note(f"{TEXT}\n— {NAME} {bad}\n{LINE}", NAME, PUBLIC)


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}\n{LINE[:-1]}",
        f"{TEXT}\n-{LINE[1:]}",
        f"{TEXT}\n{LINE}\n",
        f"{TEXT}\n— PeterNeumann\n",
        f"{TEXT}\n— PeterNeumann !!!!\n",
        f"{TEXT}\n— PeterNeumann AAAA\n",
        f"{TEXT}\n— witness AAAAAAECAwQF\n",
        f"{TEXT.replace('answer', 'question')}\n{LINE}",
        f"{TEXT}\x01\n\n{LINE}",
        f"{TEXT}{'x' * notes.MOST_BYTES}\n\n{LINE}",
    ],
)
def test_what_is_no_note_of_this_key_is_a_fault(note: str) -> None:
    """Changed, cut, unsigned, too long, of another key: refused, never half read."""
    with pytest.raises(FaultError):
        notes.open_note(note, NAME, PUBLIC)


@given(st.text(max_size=300))
def test_no_text_ends_in_a_traceback(note: str) -> None:
    """Any text at all is a `FaultError` or a note; without the key it is never a note."""
    with pytest.raises(FaultError):
        notes.read_checkpoint(note, ORIGIN, KEY)


@pytest.mark.parametrize(("text", "name"), [("no newline", "a"), ("bell\a\n", "a"), ("x\n", ""), ("x\n", "a+b")])
def test_only_a_note_that_opens_again_is_signed(text: str, name: str) -> None:
    """Text without its newline, control characters and names that break the line are the caller's mistake."""
    with pytest.raises(ValueError, match=r"note|key"):
        notes.sign_note(text, name, SIGNING_KEY)


@given(st.integers(0, 2**63), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_reads_back(size: int, root: bytes) -> None:
    """What was signed is what is read, with any size and root."""
    found = Checkpoint(ORIGIN, size, root)
    assert notes.read_checkpoint(notes.sign_note(found.text(), ORIGIN, SIGNING_KEY), ORIGIN, KEY) == found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"{ORIGIN}\n3\n", "it is not origin, size and root"),
        (f"{ORIGIN}\nthree\n{base64.b64encode(bytes(32)).decode()}\n", "it is not origin, size and root"),
        (f"{ORIGIN}\n03\n{base64.b64encode(bytes(32)).decode()}\n", "it is not origin, size and root"),
        (f"{ORIGIN}\n-3\n{base64.b64encode(bytes(32)).decode()}\n", "it is not origin, size and root"),
        (f"{ORIGIN}\n3\n{base64.b64encode(bytes(31)).decode()}\n", "it is not origin, size and root"),
        (f"another\n3\n{base64.b64encode(bytes(32)).decode()}\n", "it is of the log another"),
    ],
)
def test_a_signed_text_that_is_no_checkpoint(text: str, sentence: str) -> None:
    """A valid signature makes no checkpoint of another form, or of another log."""
    with pytest.raises(FaultError, match=sentence):
        notes.read_checkpoint(notes.sign_note(text, ORIGIN, SIGNING_KEY), ORIGIN, KEY)


def test_extensions_are_allowed() -> None:
    """Lines behind the root are another log's business and change nothing."""
    text = Checkpoint(ORIGIN, 3, bytes(32)).text() + "more\n"
    assert notes.read_checkpoint(notes.sign_note(text, ORIGIN, SIGNING_KEY), ORIGIN, KEY).size == 3
