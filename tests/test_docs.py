"""The documentation says what the program does: help text, verbs, feeds, questions, exit codes, settings, columns."""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from docs.help import COMMAND, FORMAT, README, ROOT, columns, help_of, rewritten, verbs, written
from ingest.feed import SHIPPED as SHIPPED_FEEDS
from ingest.source import Source
from queries.questions import questions
from trafficvault import errors, policy_file, settings

DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "trafficvault/*.md", "benchmarks/*.md") for path in ROOT.glob(pattern)
)
CALL = re.compile(r"`((?:trafficvault|ingest|queries)(?:\.[a-z_]+)*)\.([a-z_]+)\(([a-z_, ]*)\)`")
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)")


@pytest.fixture(scope="module")
def readme() -> str:
    """The README."""
    return README.read_text(encoding="utf-8")


def error_classes() -> list[type[errors.VaultError]]:
    """Every class of error that has an exit code."""
    found = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, errors.VaultError)]
    return sorted(found, key=lambda item: item.exit_code)


def configuration_keys() -> list[str]:
    """Every key that an operator can write in vault.toml, policy.toml (an entry's keys too) and sources.toml."""
    vault = tomllib.loads(settings.new_text("0" * 32, "0" * 64))
    rules = tomllib.loads(policy_file.preset_text("telecom"))
    entries = {key for entry in rules.pop("entry") for key in entry}
    named = {item.name for item in fields(Source)} - {"name", "record_class"} | {"class"}
    return sorted({*vault, *rules, *entries, *named})


def named_functions() -> list[tuple[str, str, str]]:
    """Every Python function that a document calls by its whole name: its module, its name and its parameters."""
    found = {one for path in DOCUMENTS for one in CALL.findall(path.read_text(encoding="utf-8"))}
    return sorted(found)


def test_python_functions_are_named_somewhere() -> None:
    """What a package's receiver calls is among them."""
    assert ("trafficvault.delivery", "verify_package", "directory, public_key") in named_functions()


@pytest.mark.parametrize(("module", "name", "parameters"), named_functions())
def test_a_python_function_that_is_documented_is_there(module: str, name: str, parameters: str) -> None:
    """With the parameters that the document tells, in their order."""
    there = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    assert ", ".join(there) == parameters


@pytest.mark.parametrize("verb", verbs())
def test_readme_shows_the_help_of_each_verb(readme: str, verb: str) -> None:
    """The README's block for a verb is what `--help` prints; `make help-text` writes it."""
    assert written(readme).get(verb) == help_of(verb)


def test_readme_shows_no_verb_that_is_not_there(readme: str) -> None:
    """Every marker of the README names a verb."""
    assert set(written(readme)) <= set(verbs())


def test_rewriting_the_readme_leaves_no_difference(readme: str) -> None:
    """The README is as `make help-text` would write it."""
    assert rewritten(readme) == readme


def test_a_marker_of_no_verb_is_refused() -> None:
    """Help text is never written behind a marker that names no verb."""
    with pytest.raises(ValueError, match="there is no such verb"):
        rewritten("<!-- help: no such verb -->\n")


def test_a_block_is_put_where_none_was() -> None:
    """A marker alone gets its block, and only once."""
    once = rewritten(f"before\n<!-- help: {COMMAND} -->\nafter\n")

    assert written(once) == {COMMAND: help_of(COMMAND)}
    assert rewritten(once) == once
    assert once.startswith("before\n")
    assert once.endswith("```\nafter\n")


@pytest.mark.parametrize("feed", sorted(path.stem for path in SHIPPED_FEEDS.glob("*.toml")))
def test_readme_names_each_feed(readme: str, feed: str) -> None:
    """A feed that ships is in the README."""
    assert f"`{feed}`" in readme


@pytest.mark.parametrize("question", sorted(questions()))
def test_readme_names_each_question(readme: str, question: str) -> None:
    """A question that ships is in the README."""
    assert f"`{question}`" in readme


@pytest.mark.parametrize("code", sorted({0, 2, *(item.exit_code for item in error_classes())}))
def test_readme_gives_each_exit_code_one_meaning(readme: str, code: int) -> None:
    """An exit code has one row in the README's table."""
    rows = re.findall(rf"^\| {code} \| \S", readme, re.MULTILINE)

    assert len(rows) == 1


def test_each_error_has_an_exit_code_of_its_own() -> None:
    """No two kinds of error share an exit code."""
    codes = [item.exit_code for item in error_classes()]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("key", configuration_keys())
def test_readme_explains_each_setting(readme: str, key: str) -> None:
    """A key of vault.toml, policy.toml or sources.toml is in the README."""
    assert f"`{key}`" in readme


def test_format_prints_the_columns_of_the_record() -> None:
    """FORMAT.md's table of columns is the record's; `make help-text` writes it."""
    assert f"<!-- columns -->\n{columns()}<!-- /columns -->" in FORMAT.read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """A link to a file of the repository finds it."""
    missing = [
        link for link in LINK.findall(document.read_text(encoding="utf-8")) if not (document.parent / link).exists()
    ]

    assert missing == []


def test_every_decision_is_listed() -> None:
    """Each page of docs/decisions stands in its README."""
    directory = ROOT / "docs" / "decisions"
    listed = (directory / "README.md").read_text(encoding="utf-8")

    assert [path.name for path in sorted(directory.glob("[0-9]*.md")) if path.name not in listed] == []
