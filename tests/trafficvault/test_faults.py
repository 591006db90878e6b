"""Faults: what size and keyed digest tell of a file, without opening it."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from trafficvault.errors import FaultError
from trafficvault.faults import Fault, Verification, compare, place_of

CONTENT = b"what was committed"


def digest_of(path: Path) -> str:
    """A digest of the whole content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


ROW = {"digest": hashlib.sha256(CONTENT).hexdigest(), "bytes": len(CONTENT)}


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (CONTENT, None, ""),
        (None, "missing", "is missing"),
        (CONTENT[:-1], "truncated", "has 17 bytes, the catalogue says 18: it was truncated"),
        (CONTENT + b"x", "extended", "has 19 bytes, the catalogue says 18: it was extended"),
        (CONTENT[:-1] + b"x", "bit flip", "has the right size and other content: bits were changed"),
        (b"another file's", "swapped", "has the content of file b: the two were exchanged or copied"),
    ],
)
def test_a_file_is_compared_by_size_and_digest(
    tmp_path: Path, content: bytes | None, kind: str | None, words: str
) -> None:
    """Each way of being another than what was committed has its own name, and the sentence says which file it is."""
    path = tmp_path / "records" / "voip" / "2026-11-10" / "a.parquet"
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    fault = compare(path, ROW, digest_of, {hashlib.sha256(b"another file's").hexdigest(): "b"})

    assert (fault and fault.kind) == kind
    if fault is not None:
        assert (fault.thing, fault.sentence) == ("a.parquet", f"records/voip/2026-11-10/a.parquet {words}")


def test_a_file_that_the_system_does_not_give_is_unreadable(tmp_path: Path) -> None:
    """The reason of the system stands in the sentence."""
    path = tmp_path / "a.parquet"
    path.write_bytes(CONTENT)

    def refused(_: Path) -> str:
        raise OSError(errno.EIO, "Input/output error")

    fault = compare(path, ROW, refused, {})
    assert fault == Fault("unreadable", "a.parquet", f"{place_of(path)}: it can't be read (Input/output error)")


def test_a_verification_with_a_fault_is_an_error() -> None:
    """It tells how many there are and the first; one without a fault is none."""
    Verification((), {"records": 2}).require_clean()
    with pytest.raises(FaultError, match="2 faults; the first: one is missing"):
        Verification(
            (Fault("missing", "one", "one is missing"), Fault("extra", "two", "two is extra")), {}
        ).require_clean()
