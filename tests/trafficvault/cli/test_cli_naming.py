"""An id by its beginning: found, ambiguous, none, and told to nobody who may not list it."""

from __future__ import annotations

from queries.questions import questions
from tests.support import Order, Usage, usage
from tests.trafficvault.cli.commandline import CommandLine
from trafficvault.coverage import warrant_id
from trafficvault.warrants import parse


def registered(line: CommandLine, number: int) -> str:
    """A warrant of the docket."""
    file = line.file(f"{number}.toml", Order(reference=f"PV-2026-{number:06d}").toml())
    return str(line("warrant", "add", file, "--json", user="olga").object["warrant_id"])


def test_a_warrant_by_its_beginning(line: CommandLine) -> None:
    """Whoever may list it names it by four signs or more; fewer are no beginning."""
    warrant = registered(line, 1)
    assert f"warrant {warrant}" in line("warrant", "show", warrant[:4], user="piet").out
    assert line("warrant", "show", warrant[:3], user="piet").code == 3
    assert line("warrant", "approve", warrant[:6], "--json", user="piet").object["warrant_id"] == warrant
    assert line("hold", "release", warrant[:8], user="olga").code == 0


def test_a_beginning_of_several_is_a_sentence_with_all_of_them(line: CommandLine) -> None:
    """Exit code 2; who may not list warrants is told that there is none of that id."""
    seen: dict[str, str] = {}
    for number in range(1, 600):
        seen_before = seen.get((warrant := registered_id(number))[:4])
        if seen_before is not None:
            break
        seen[warrant[:4]] = str(number)
    assert seen_before is not None
    pair = [registered(line, int(seen_before)), registered(line, number)]
    told = line("warrant", "show", pair[0][:4], user="piet")
    assert told.code == 2
    assert all(one in told.err for one in pair)
    other = line("warrant", "approve", pair[0][:4], user="otto")
    assert other.code == 3
    assert not any(one in other.err for one in pair)


def registered_id(number: int) -> str:
    """The id that a warrant will have: a digest of its document."""
    return warrant_id(parse(Order(reference=f"PV-2026-{number:06d}").toml(), frozenset(questions())).document)


def test_batches_proposals_and_requests_too(line: CommandLine) -> None:
    """Each verb that takes their id takes its beginning."""
    file = line.file("S4PGWM000001", usage([Usage()]))
    batch = str(line("ingest", "mvno_pipe", file, "--json").object["receipts"][0]["batch_id"])
    assert line("batch", "show", batch[:5], "--json").object["batch_id"] == batch
    made = line("batch", "withdraw", batch[:5], "--reason", "wrong", "--json", user="otto").object
    assert made["batch_id"] == batch
    proposal = str(made["proposal_id"])
    assert line("proposal", "show", proposal[:5], user="otto").code == 0
    assert line("proposal", "show", proposal[:5], user="olga").code == 3
    assert line("proposal", "drop", proposal[:5], "--json", user="otto").object["proposal_id"] == proposal
    words = ("rights", "add", "--kind", "object", "--identifier", "msisdn=+31612345678", "--since", "2026-01-01T00:00Z")
    more = ("--person-checked", "account", "--at", "2026-11-20T09:00:00Z", "--json")
    request = str(line(*words, *more, user="otto").object["request_id"])
    assert line("rights", "show", request[:5], "--json", user="otto").object["request_id"] == request
    assert line("rights", "approve", request[:5], "--json", user="piet").object["request_id"] == request
