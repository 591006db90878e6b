"""Sealed streams: as long as may be, and no chunk left out, exchanged, added or cut off unseen."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trafficvault import sealing
from trafficvault.errors import FaultError

KEY = bytes(range(32))
FULL = 12 + 2**20 + 16


def sealed(*pieces: bytes, place: str = "here") -> bytes:
    """A stream of `pieces`."""
    sink = io.BytesIO()
    stream = sealing.StreamWriter(KEY, sink, place)
    for piece in pieces:
        assert stream.write(piece) == len(piece)
    stream.close()
    stream.close()
    return sink.getvalue()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 3 * 2**19), max_size=4))
def test_what_was_written_comes_back(tmp_path: Path, sizes: list[int]) -> None:
    """Whatever the pieces; one chunk, several, none; an old sealed blob too."""
    pieces = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    path = tmp_path / "stream"
    path.write_bytes(sealed(*pieces))
    assert sealing.unseal_file(KEY, path, "here") == b"".join(pieces)
    path.write_bytes(sealing.seal(KEY, b"old", "here"))
    assert sealing.unseal_file(KEY, path, "here") == b"old"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.integers(0, 3 * 2**20), st.sampled_from([0, 2**20 - 1, 2**20, 2**20 + 1, 2**21])),
    st.integers(0, 2**21),
    st.booleans(),
)
def test_the_first_piece_tells_which_key_opens(tmp_path: Path, size: int, cut: int, is_blob: bool) -> None:
    """Of any length and either form: with its key alone, at its place alone; also of a stream whose end is missing, as
    long as the first chunk is whole.
    """
    path, content = tmp_path / "stream", bytes(size)
    path.write_bytes(sealing.seal(KEY, content, "here") if is_blob else sealed(content))
    piece = sealing.first_piece(path, "here")
    assert piece.opens(KEY)
    assert not piece.opens(bytes(32))
    assert not sealing.first_piece(path, "there").opens(KEY)
    if not is_blob and size >= 2**20:
        path.write_bytes(path.read_bytes()[: 4 + FULL + cut])
        assert sealing.first_piece(path, "here").opens(KEY)


def test_what_is_not_sealed_has_no_first_piece(tmp_path: Path) -> None:
    """Other bytes, or none, are refused; what was cut within its piece opens with no key."""
    path = tmp_path / "stream"
    for content in (b"", b"TVS9" + bytes(40), b"class,start\n"):
        path.write_bytes(content)
        with pytest.raises(FaultError, match="does not start as a sealed blob"):
            sealing.first_piece(path, "here")
    for whole in (sealed(b"some"), sealing.seal(KEY, b"some", "here")):
        for length in range(4, len(whole)):
            path.write_bytes(whole[:length])
            assert not sealing.first_piece(path, "here").opens(KEY)


def test_a_changed_stream_does_not_open(tmp_path: Path) -> None:
    """Cut between chunks or in one, chunks exchanged or left out, bytes added or flipped, another place or key."""
    path, whole = tmp_path / "stream", sealed(bytes(5 * 2**19))
    head, chunks = whole[:4], [whole[start : start + FULL] for start in range(4, len(whole), FULL)]
    assert len(chunks) == 3
    flipped = bytearray(whole)
    flipped[2 * FULL] ^= 1
    for wrong in (
        head,
        head + chunks[0] + chunks[1],
        whole[:-1],
        whole + b"x",
        head + chunks[1] + chunks[0] + chunks[2],
        head + chunks[0] + chunks[2],
        head + chunks[0] + chunks[1] + chunks[1] + chunks[2],
        bytes(flipped),
    ):
        path.write_bytes(wrong)
        with pytest.raises(FaultError, match="opening here"):
            sealing.unseal_file(KEY, path, "here")
    path.write_bytes(whole)
    for key, place in ((KEY, "there"), (bytes(32), "here")):
        with pytest.raises(FaultError):
            sealing.unseal_file(key, path, place)
