"""The form of a question file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ingest.record import BY_NAME, CLASSES
from queries.questions import SHIPPED, QuestionError, load, questions
from queries.scope import TARGET_SCHEMA

GOOD = "-- kind: stream\n-- needs: who, when\n-- describes: a\n--   b\n--\n-- a remark: of the author\nSELECT 1\n"


def write(directory: Path, text: str, name: str = "asked.sql") -> Path:
    """Writes a question file."""
    path = directory / name
    path.write_text(text)
    return path


def test_a_question_file(tmp_path: Path) -> None:
    """A file is a question by its header; its digest is that of its bytes."""
    path = write(tmp_path, GOOD.replace("stream", "aggregate") + "-- kind: nothing\n")
    question = load(path)

    assert (question.name, question.kind, question.describes) == ("asked", "aggregate", "a b")
    assert question.needs == {"who", "when"} and question.also == set() and question.classes == set()
    assert question.parameters == () and question.derived == {}
    assert question.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_optional_lines(tmp_path: Path) -> None:
    """A header may name categories to add, classes, parameters and computed columns."""
    header = (
        "-- also: where\n-- classes: binding, voip\n-- parameters: n, m\n-- derived: x = start end; y = bytes_up;\n"
    )
    question = load(write(tmp_path, header + GOOD))

    assert question.also == {"where"} and question.classes == {"binding", "voip"} and question.parameters == ("n", "m")
    assert question.derived == {"x": {"start", "end"}, "y": {"bytes_up"}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SELECT 1", "lacks describes, kind, needs"),
        (GOOD.replace("describes: a", "describes:").replace("--   b\n", ""), "lacks describes"),
        (GOOD.replace("stream", "listing"), "stream or aggregate"),
        (GOOD.replace("who,", "whom,"), "'whom' is not a category"),
        ("-- author: me\n" + GOOD, "'author' is unknown"),
        ("-- kind: stream\n" + GOOD, "stands twice"),
        ("--   hanging\n" + GOOD, "must be"),
        ("-- nonsense\n" + GOOD, "must be"),
        ("-- derived: x\n" + GOOD, "derived takes"),
        ("-- derived: x =\n" + GOOD, "derived takes"),
    ],
)
def test_malformed_files(text: str, words: str, tmp_path: Path) -> None:
    """A file that is not a question is refused, with its name and what is wrong."""
    with pytest.raises(QuestionError, match=words) as refused:
        load(write(tmp_path, text))
    assert "asked.sql" in str(refused.value)


def test_a_header_alone(tmp_path: Path) -> None:
    """A file may be all header; the engine then finds no question in it."""
    assert load(write(tmp_path, GOOD.partition("--\n")[0])).describes == "a b"


def test_a_name_in_capitals(tmp_path: Path) -> None:
    """A question is named by lower-case letters and underscores."""
    with pytest.raises(QuestionError, match="lower-case"):
        load(write(tmp_path, GOOD, "Asked 1.sql"))


def test_the_shipped_questions() -> None:
    """The six questions are there, and their headers name only what the record has."""
    shipped = questions()

    assert sorted(shipped) == ["activity", "cell", "contacts", "data_usage", "holder", "identifiers"]
    assert {name for name, question in shipped.items() if question.kind == "stream"} == {"activity"}
    assert shipped["holder"].classes == {"binding"} and shipped["holder"].parameters == ("max_matches",)
    for question in shipped.values():
        assert "who" in question.needs and "when" in question.needs and not question.needs & question.also
        assert question.classes <= set(CLASSES)
        assert set().union(*question.derived.values()) <= set(BY_NAME)
        assert not set(question.derived) & (set(BY_NAME) | set(TARGET_SCHEMA.names))
        assert len(question.describes) > 40
    assert SHIPPED.is_dir()
