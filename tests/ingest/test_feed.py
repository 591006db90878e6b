"""Feed definitions: what loads, what is refused, and how it says so."""

from __future__ import annotations

import hashlib
import re
import textwrap
from pathlib import Path

import pytest

import ingest.feed
from ingest import conditions, definition, examples, rules, totals
from ingest.errors import FeedError
from ingest.feed import SHIPPED, load_feed, parse_feed
from ingest.rules import KINDS

NAMES = ("asterisk_csv", "kamailio_flatstore", "mvno_pipe", "native_csv", "native_ndjson", "wlr_fixed")

SMALL = """
feed   = "small"
title  = "two columns"
class  = "voip"
reader = "delimited"

[[shapes]]
name    = "3"
columns = ["when", "who", "note"]

[columns]
start = { from = "when", as = "epoch" }
a     = { from = "who", as = "party" }

[[example]]
name = "one call"
raw  = "1770131244,+31612345678,x"

[[example.records]]
start          = 2026-02-03T15:07:24Z
time_precision = "s"
a_number       = "+31612345678"
a_kind         = "e164"
"""


def written(directory: Path, text: str) -> Path:
    """The file `small.toml` with `text`."""
    path = directory / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_feed_proves_its_examples(name: str) -> None:
    """A shipped feed loads, which its examples passing is."""
    feed = load_feed(SHIPPED / f"{name}.toml")

    assert feed.name == name
    assert feed.examples
    assert feed.digest == hashlib.sha256((SHIPPED / f"{name}.toml").read_bytes()).hexdigest()


def test_shipped_feeds_are_the_ones_named() -> None:
    """No further definition lies among the shipped ones untested."""
    assert tuple(sorted(path.stem for path in SHIPPED.glob("*.toml"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_examples_do_not_depend_on_the_vault(name: str) -> None:
    """The policy of a vault elsewhere loads the shipped feeds too: their examples state the zone they are of."""
    assert load_feed(SHIPPED / f"{name}.toml", zone="Pacific/Auckland", region="NZ").name == name


def test_every_key_is_documented() -> None:
    """Each key that a definition may hold stands in the docstring of `ingest.feed`."""
    known: set[str] = set()
    for module in (ingest.feed, rules, definition, examples, totals, conditions):
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        words = r"text|texts|needed|integer|flag|pattern|span|tables?|one_of|take|texts_by_name"
        known |= set(re.findall(rf'\b(?:table|inner|step|near)\.(?:{words})\(\s*"(\w+)"', source))
        known |= {key for keys in re.findall(r"for key in \(([^)]+)\)", source) for key in re.findall(r'"(\w+)"', keys)}
    documented = ingest.feed.__doc__ or ""

    missing = {key for key in known if not re.search(rf"`(\[?\[?){key}(\]?\]?)`", documented)}
    assert len(known) > 60
    assert not missing


def test_every_form_is_documented() -> None:
    """Each word that may stand behind `as` stands in the docstring of `ingest.feed`."""
    documented = set(re.findall(r"\w+", ingest.feed.__doc__ or ""))

    assert set(KINDS) <= documented


def test_small_feed_loads(tmp_path: Path) -> None:
    """A definition with a passing example loads; what it does not assign is told."""
    feed = load_feed(written(tmp_path, SMALL))

    assert feed.fields() == feed.fields("3") == ("when", "who", "note")
    assert feed.unassigned() == feed.unassigned("3") == ("note",)
    assert feed.unassigned("other") == ()


REFUSED = {
    "an unknown key is named with the nearest known one": ('class  = "voip"', 'clas = "voip"', "'class'"),
    "an unknown key of a rule too": ('as = "epoch"', 'as = "epoch", unti = "s"', "columns.start.unti.*'unit'"),
    "a class that is none": ('"voip"', '"viop"', "'voip'"),
    "both class and class_column": ('class  = "voip"', 'class = "voip"\nclass_column = "who"', "one of the two"),
    "neither class nor class_column": ('class  = "voip"', "", "one of the two"),
    "a name that is not the file's": ('"small"', '"tall"', "must be the name of its file"),
    "no title": ('title  = "two columns"', "", "title is missing"),
    "no reader": ('reader = "delimited"', "", "reader is missing"),
    "an unknown reader": ('"delimited"', '"delimeted"', "'delimited'"),
    "shapes for a fixed feed": ('"delimited"', '"fixed"', "reader fixed takes records"),
    "no shape at all": (SMALL[SMALL.index("[[shapes]]") : SMALL.index("[columns]")], "", "no field is known"),
    "a shape without columns": ('columns = ["when", "who", "note"]', "", "columns is missing"),
    "a field named twice": ('"who", "note"', '"who", "who"', "names 'who' twice"),
    "a field that the mapping could mistake": ('"who", "note"', '"who", "=start"', "no field can be named"),
    "a shape named twice": ("[columns]", '[[shapes]]\nname = "3"\ncolumns = ["x"]\n[columns]', "comes twice"),
    "a column that is not of the record": ("start =", "begin =", "not a column of the record"),
    "a column of provenance": ("start =", "row =", "not a column of the record"),
    "a field that no shape has": ('"when", as', '"wenn", as', "'wenn' is not a field.*'when'"),
    "a time without its form": (', as = "epoch"', "", "start.as is missing"),
    "a form that does not fit the column": ('as = "epoch"', 'as = "address"', "start.as cannot be 'address'"),
    "a local time without format": ('"epoch"', '"local_time"', "needs its format"),
    "a format with an unknown word": ('"epoch"', '"local_time", format = "%Q"', "%Q"),
    "no source of a value": ('from = "when", as', "as", "must have one of from, constant, after"),
    "a constant that cannot be": ('from = "when", as', "constant = 1, as", "cannot fill"),
    "a constant of another type": ("[columns]", "[columns]\nevent = { constant = 1 }", "is not of the form text"),
    "a time computed from no rule": ("[columns]", '[columns]\nend = { after = "answer" }', "no time that a rule fills"),
    "times computed in a circle": (
        "[columns]",
        '[columns]\nend = { after = "answer" }\nanswer = { after = "end" }',
        "computed from it",
    ),
    "a comparison with no rule": (
        "[columns]",
        '[columns]\na_asserted = { from = "who", unlike = "b_number" }',
        "which no rule fills",
    ),
    "a comparison with another column": (
        "[columns]",
        '[columns]\na_asserted = { from = "who", unlike = "imsi" }',
        "must be one of a_number",
    ),
    "an unknown shape in a rule": ('as = "epoch"', 'as = "epoch", shapes = ["4"]', "names the shape '4'"),
    "a pattern that is none": ('as = "epoch"', 'as = "epoch", pattern = "("', "not a regular expression"),
    "a pattern with look-around": ('as = "epoch"', 'as = "epoch", pattern = "(?=a)(b)"', "not a regular expression"),
    "a pattern without a group": ('as = "epoch"', 'as = "epoch", pattern = "x"', "must have 1 group"),
    "a condition of two sorts": (
        'as = "epoch"',
        'as = "epoch", when = { who = { empty = true, not = ["x"] } }',
        "when.who must be values",
    ),
    "a party with two number plans": (
        'a     = { from = "who", as = "party" }',
        'a = [{ from = "who" }, { from = "note", bare = "national" }]',
        "same nature",
    ),
    "a nature that is none": (
        'as = "party"',
        'as = "party", nature = "note", natures = { x = "local" }',
        "cannot give 'local'",
    ),
    "an other party without role": ("[columns]", '[columns]\nother_parties = { from = "who", as = "party" }', "role"),
    "near without a moment": ('"epoch"', '"local_time", format = "%Y%m%d%H%M%S", near = {}', "one of from, after"),
    "content that something uses": ("[[shapes]]", 'content = ["who"]\n[[shapes]]', "nothing else may use it"),
    "content that no shape has": ("[[shapes]]", 'content = ["body"]\n[[shapes]]', "'body' is not a field"),
    "shapes beside canonical": ("[[shapes]]", "canonical = true\n[[shapes]]", "which has its own"),
    "an ignore without condition": ("[columns]", '[[ignore]]\nreason = "x"\n[columns]', "would hold for every row"),
    "an identity all optional": (
        "[columns]",
        '[identity]\nfields = ["who"]\noptional = ["who"]\n[columns]',
        "must be some, not all",
    ),
    "a joining without key": (
        "[columns]",
        '[joining]\ntime = "when"\nmethod = "who"\ntaker = "x"\ngiver = "y"\n[columns]',
        "on is missing",
    ),
    "a sequence that stands nowhere": ("[columns]", "[sequence]\nmodulus = 10\n[columns]", "one of the two"),
    "a sequence without its group": ("[columns]", '[sequence]\nfile_name = "[0-9]+"\n[columns]', "group named seq"),
    "a sequence that wraps at one": (
        "[columns]",
        '[sequence]\nfile_name = "(?P<seq>x)"\nmodulus = 1\n[columns]',
        "2 or more",
    ),
    "a sequence in no header": ("[columns]", '[sequence]\nfield = "who"\n[columns]', "not in the header"),
    "totals in no trailer": ("[columns]", '[totals]\ncount = "n"\n[columns]', "totals names a field"),
    "a number plan of no sense": ("[columns]", '[number_plan]\ncountry = "NL"\n[columns]', "country must be digits"),
    "an extension that is no span": ("[columns]", "[number_plan]\nextension = 4\n[columns]", "two whole numbers"),
    "text for a list": ('["when", "who", "note"]', "[1, 2]", "a text or a list of texts"),
    "a number for text": ('title  = "two columns"', "title = 1", "must be a text"),
    "text for a flag": ("[[shapes]]", 'canonical = "yes"\n[[shapes]]', "true or false"),
    "text for a table": ("[[shapes]]", 'dialect = ","\n[[shapes]]', "dialect must be a table"),
    "text for tables": ("[columns]", "", "must be a table or a list of tables"),
    "text for a number": ("[[example.records]]", 'joined = "1"\n[[example.records]]', "must be a whole number"),
    "a map that is none": ('as = "party"', 'as = "party", map = { x = 1 }', "a table of texts"),
    "an example that tells provenance": ("time_precision =", "batch =", "not a column that an example can tell"),
    "an example with a time of no zone": ("07:24Z", "07:24", "time with its offset"),
    "an example that arrived nowhen": (
        "[[example.records]]",
        "arrived = 2026-02-03\n[[example.records]]",
        "a time with its offset",
    ),
    "an example in no encoding": (
        "[[example.records]]",
        'encoding = "utf-88"\n[[example.records]]',
        "cannot write the example",
    ),
    "a rejection without row": (
        "[[example.records]]",
        'rejections = [{ reason = "x" }]\n[[example.records]]',
        "row is missing",
    ),
    "not TOML": ("[columns]", "[columns", "is not TOML"),
    "no example": (SMALL[SMALL.index("[[example]]") :], "", "has no example"),
}


@pytest.mark.parametrize("claim", REFUSED)
def test_refused(claim: str, tmp_path: Path) -> None:
    """What is wrong in a definition is refused with a sentence that names it."""
    old, new, words = REFUSED[claim]
    assert old in SMALL
    text = SMALL.replace(old, new, 1)
    if claim == "text for tables":
        text = SMALL.replace('start = { from = "when", as = "epoch" }', "start = 1")

    with pytest.raises(FeedError, match=words):
        load_feed(written(tmp_path, text))


FAILING = {
    "another value": ('"e164"', '"short"', "record 1, column a_kind: expected 'short', found 'e164'"),
    "a value that nothing gives": (
        'a_kind         = "e164"',
        'a_kind = "e164"\nimsi = "204990000000001"',
        "found nothing",
    ),
    "a value that nobody expects": ('time_precision = "s"\n', "", "time_precision: expected nothing, found 's'"),
    "another number of records": (
        'x"\n\n[[example.records]]',
        'x"\n[[example.records]]\nstart = 2026-02-03T15:07:24Z\ntime_precision = "s"\na_number = "+31612345678"\n'
        'a_kind = "e164"\n[[example.records]]',
        "2 records expected, 1 found",
    ),
    "a rejection that does not come": (
        "[[example.records]]",
        'rejections = [{ row = 1, reason = "future" }]\n[[example.records]]',
        "rejections should be",
    ),
    "a count that does not hold": (
        "[[example.records]]",
        "joined = 1\n[[example.records]]",
        "joined should be 1, found 0",
    ),
    "a file that is refused": ('raw  = "1770131244,+31612345678,x"', 'raw = "a,b"', "the file is refused"),
    "a file that should be": ("[[example.records]]", "refused = true\n[[example.records]]", "should be refused"),
}


@pytest.mark.parametrize("claim", FAILING)
def test_failing_example(claim: str, tmp_path: Path) -> None:
    """A feed does not load when an example gives anything else; the error names example, column and both values."""
    old, new, words = FAILING[claim]
    assert old in SMALL

    with pytest.raises(FeedError, match=re.escape("example 'one call'") + f".*{words}"):
        load_feed(written(tmp_path, SMALL.replace(old, new, 1)))


def test_example_of_a_refused_file(tmp_path: Path) -> None:
    """An example may be of a file that must be refused."""
    text = SMALL[: SMALL.index("[[example.records]]")].replace("+31612345678,x", "x") + "refused = true\n"

    assert load_feed(written(tmp_path, text)).examples[0].refused


def test_a_missing_file_is_a_feed_error(tmp_path: Path) -> None:
    """A definition that cannot be read is refused by its name."""
    with pytest.raises(FeedError, match=r"feed none\.toml cannot be read"):
        load_feed(tmp_path / "none.toml")


def test_bytes_that_are_no_text_are_refused() -> None:
    """A definition must be UTF-8."""
    with pytest.raises(FeedError, match="is not TOML"):
        parse_feed(b"\xff", "small")


FIXED = """
feed   = "small"
title  = "fixed"
class  = "voip"
reader = "fixed"

[[records]]
name   = "R"
prefix = "R"
length = 11
fields = { time = [1, 11] }

[columns]
start = { from = "time", as = "epoch" }

[[example]]
name = "one"
raw  = "R1770131244"

[[example.records]]
start          = 2026-02-03T15:07:24Z
time_precision = "s"
"""


def test_fixed_feed_without_header_loads(tmp_path: Path) -> None:
    """A fixed feed needs no header and no trailer."""
    assert load_feed(written(tmp_path, FIXED)).fields("R") == ("time",)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("fields = { time = [1, 11] }", "", "fields is missing"),
        ("length = 11", "", "length is missing"),
        ("[1, 11]", "[1, 12]", "within the 11 bytes"),
        ("[1, 11]", "[11, 1]", "within the 11 bytes"),
        ('prefix = "R"', "", "prefix is missing"),
        ('"fixed"\n\n', '"delimited"\n\n', "reader delimited takes shapes"),
    ],
)
def test_fixed_feed_refused(old: str, new: str, words: str, tmp_path: Path) -> None:
    """Positions outside the line, and lines without form, are refused."""
    assert old in FIXED

    with pytest.raises(FeedError, match=words):
        load_feed(written(tmp_path, FIXED.replace(old, new, 1)))


@pytest.mark.parametrize("name", ["*", "^.*$", "^when$", "a" * 65, "na\\u00efve"])
def test_a_field_name_is_no_pattern_over_columns(name: str, tmp_path: Path) -> None:
    """`*` and `^…$` would stand for all columns, content too: no field is named so, of any reader."""
    with pytest.raises(FeedError, match="no field can be named"):
        load_feed(written(tmp_path, SMALL.replace('"note"]', f'"{name}"]')))
    with pytest.raises(FeedError, match="no field can be named"):
        native = (SHIPPED / "native_csv.toml").read_text(encoding="utf-8")
        parse_feed(native.replace('class_column = "class"', f'class_column = "{name}"').encode(), "native_csv")


def test_all_differences_of_an_example_are_told_at_once(tmp_path: Path) -> None:
    """An operator sees everything that the first failing example gives otherwise, not one thing per try."""
    text = SMALL.replace('"e164"', '"short"').replace('time_precision = "s"', 'time_precision = "ms"')

    with pytest.raises(
        FeedError, match=r"joined should be 1, found 0; record 1, column a_kind: .*; record 1, column time_p"
    ):
        load_feed(written(tmp_path, text.replace("[[example.records]]", "joined = 1\n[[example.records]]")))


@pytest.mark.parametrize("where", ['[dialect]\nencodings = ["utf-16"]\n[[shapes]]', None])
def test_an_encoding_outside_the_list_is_refused(where: str | None, tmp_path: Path) -> None:
    """Neither a dialect nor an example names another encoding."""
    text = SMALL.replace("[[shapes]]", where) if where else SMALL.replace("raw  =", 'encoding = "utf-16"\nraw =')

    with pytest.raises(FeedError, match="utf-16"):
        load_feed(written(tmp_path, text))


def test_the_feed_in_the_documentation_loads(tmp_path: Path) -> None:
    """The worked example of the docstring is a feed as it stands there."""
    document = str(ingest.feed.__doc__)
    text = textwrap.dedent(document[document.index('    feed   = "exchange"') :])
    path = tmp_path / "exchange.toml"
    path.write_text(text, encoding="utf-8")

    assert load_feed(path, zone="Asia/Tokyo").name == "exchange"
