"""Verbs that take data in: feeds, sources, ingest, batch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from trafficvault import completeness, replacement, rereading, withdrawal
from trafficvault import intake as taking
from trafficvault.cli.door import AsJson, door
from trafficvault.cli.naming import full_id
from trafficvault.cli.proposing import CARRIERS, told
from trafficvault.cli.screen import plain, print_lines, print_object, print_table, progress
from trafficvault.errors import BatchError, UsageError
from trafficvault.people import Person, require_role
from trafficvault.proposals import Proposal
from trafficvault.receipts import COUNTS, Receipt
from trafficvault.vault import Vault
from trafficvault.withdrawal import Withdrawal

feed_verbs = typer.Typer(invoke_without_command=True, help="Feeds: the formats that this vault reads.")
source_verbs = typer.Typer(invoke_without_command=True, help="Sources: who delivers which feed.")
batch_verbs = typer.Typer(no_args_is_help=True, help="Batches: what was delivered.")


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`, and what carries out their proposals."""
    app.add_typer(feed_verbs, name="feeds")
    app.add_typer(source_verbs, name="sources")
    app.command("ingest")(ingest)
    app.add_typer(batch_verbs, name="batch")
    CARRIERS[withdrawal.KIND] = _withdraw
    CARRIERS[replacement.KIND] = _replace
    CARRIERS[rereading.KIND] = _reread


@feed_verbs.callback()
def feeds(context: typer.Context, as_json: AsJson = False) -> None:
    """List the feeds, shipped and the operator's own."""
    if context.invoked_subcommand is not None:
        return
    vault = door(context).open()
    rows = [
        {
            "feed": feed.name,
            "title": feed.title,
            "class": feed.record_class,
            "reader": feed.reader,
            "digest": feed.digest,
        }
        for feed in vault.feeds.values()
    ]
    if as_json:
        print_object({"feeds": rows})
    else:
        print_table(
            "feeds",
            ("feed", "class", "reader", "what it is"),
            [(row["feed"], row["class"] or "in the record", row["reader"], row["title"]) for row in rows],
        )


@feed_verbs.command("check")
def feeds_check(
    context: typer.Context,
    feed: Annotated[str, typer.Argument(help="A feed's name.")],
    file: Annotated[Path, typer.Argument(help="A file of that feed.", exists=True, dir_okay=False)],
    source: Annotated[str | None, typer.Option(help="The source it came from.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read a file without storing it: what would become of every unit, and which columns the feed drops."""
    vault = door(context).open()
    found = taking.check(vault, feed, source, file)
    if as_json:
        print_object(asdict(found))
    else:
        print_lines([f"{feed}: {found.status}" + (f": {found.reason}" if found.reason else "")])
        if found.counts:
            print_table("units", ("what", "number"), list(found.counts.items()))
        if found.rejected_by:
            print_table("rejected by reason", ("reason", "rows"), list(found.rejected_by.items()))
        print_lines([f"dropped, because no category is assigned: {', '.join(found.dropped) or 'nothing'}"])
        print_lines([f"dropped as content: {', '.join(found.content) or 'nothing'}"])
    if found.status != "would be committed":
        raise BatchError(f"checking the file: it would be {found.status.removeprefix('would be ')}")


@feed_verbs.command("test")
def feeds_test(context: typer.Context, as_json: AsJson = False) -> None:
    """Run the examples of every feed."""
    vault = door(context).open()
    rows = [
        {"feed": feed.name, "examples": len(feed.examples), "passed": True}
        for feed in map(vault.feeds.tested, vault.feeds)
    ]
    if as_json:
        print_object({"feeds": rows})
    else:
        # A feed whose examples fail is an error, so that whoever comes here has passed them all.
        print_table("examples passed", ("feed", "examples"), [(row["feed"], row["examples"]) for row in rows])


@source_verbs.callback()
def sources(context: typer.Context, as_json: AsJson = False) -> None:
    """List the sources of sources.toml."""
    if context.invoked_subcommand is not None:
        return
    vault = door(context).open()
    rows = [
        {
            "source": item.name,
            "feed": item.feed,
            "customer": item.customer,
            "class": item.record_class,
            "zone": item.zone,
            "region": item.region,
            "cadence": item.cadence,
        }
        for item in vault.sources.values()
    ]
    if as_json:
        print_object({"sources": rows})
    else:
        print_table(
            "sources",
            ("source", "feed", "customer", "class", "zone", "region", "cadence"),
            [tuple(row.values()) for row in rows],
        )


@source_verbs.command("gaps")
def sources_gaps(context: typer.Context, as_json: AsJson = False) -> None:
    """List missing sequence numbers of the sources that number their files."""
    vault = door(context).open()
    found = completeness.known_gaps(vault)
    if as_json:
        print_object({"gaps": [asdict(gap) for gap in found]})
    else:
        rows = [(gap.source, gap.first, gap.last, gap.from_day, gap.to_day) for gap in found]
        print_table("missing files", ("source", "first", "last", "after day", "before day"), rows)


def ingest(
    context: typer.Context,
    feed: Annotated[str, typer.Argument(help="A feed's name; `feeds` lists them.")],
    files: Annotated[
        list[Path], typer.Argument(help="Files of that feed; gzip and zstd are unpacked.", exists=True, dir_okay=False)
    ],
    source: Annotated[str | None, typer.Option(help="A source of sources.toml; default: the feed's own.")] = None,
    replaces: Annotated[
        str | None, typer.Option(help="Hold the file and propose that it replaces this batch (role operator).")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, with --replaces.")] = "",
    as_json: AsJson = False,
) -> None:
    """Store the records of files, and print a receipt for each (exit code 4 when one was held or refused)."""
    if replaces is not None:
        _propose_replacement(context, feed, files, source, replaces, reason, as_json=as_json)
        return
    receipts: list[Receipt] = []
    try:
        with door(context).writing() as vault, progress("ingest") as step:
            for receipt in taking.ingest_all(vault, feed, source, files, step):
                receipts.append(receipt)
    finally:
        # An error at one file leaves the files before it stored, and their receipts are told.
        if receipts:
            show_receipts(receipts, as_json=as_json)
    bad = [receipt for receipt in receipts if receipt.status in ("held", "refused")]
    if bad:
        raise BatchError(f"{len(bad)} of {len(receipts)} files were held or refused; their receipts say why")


@batch_verbs.command("list")
def batch_list(context: typer.Context, as_json: AsJson = False) -> None:
    """List every batch, newest last."""
    show_receipts(taking.batches(door(context).open()), as_json=as_json)


@batch_verbs.command("show")
def batch_show(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="A batch id, or its beginning.")],
    as_json: AsJson = False,
) -> None:
    """Show one batch: its receipt, and why rows were rejected or ignored."""
    vault = door(context).open()
    batch = full_id(vault, "batch", batch)
    receipt, rejected = taking.batch(vault, batch), taking.rejected_rows(vault, batch)
    if as_json:
        print_object({**asdict(receipt), "rejections": rejected})
    else:
        print_table(
            f"batch {batch}", ("what", "value"), [(name, plain(value)) for name, value in asdict(receipt).items()]
        )


@batch_verbs.command("accept")
def batch_accept(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="The id of a held batch, or its beginning.")],
    as_json: AsJson = False,
) -> None:
    """Store a held batch although its control totals disagree (role operator); every later answer names it."""
    with door(context).writing() as vault:
        person = door(context).person(vault)
        require_role(person, "operator")
        receipt = taking.accept(vault, person.name, full_id(vault, "batch", batch))
    show_receipts([receipt], as_json=as_json)


@batch_verbs.command("withdraw")
def batch_withdraw(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="A batch id, or its beginning.")],
    reason: Annotated[str, typer.Option(help="Why it was wrong to take it in.")],
    as_json: AsJson = False,
) -> None:
    """Propose to remove a batch's rows, rejections and held file for good (role operator); another person approves."""
    with door(context).writing() as vault:
        batch = full_id(vault, "batch", batch)
        found = withdrawal.propose(vault, door(context).person(vault), batch, reason)
    if as_json:
        print_object({"proposal_id": found.proposal_id, "kind": found.kind, "batch_id": batch})
    else:
        print_lines([told(found)])


@batch_verbs.command("reread")
def batch_reread(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="The id, or its beginning, of a batch whose bytes are kept.")],
    reason: Annotated[str, typer.Option(help="Why it was wrongly read.")],
    as_json: AsJson = False,
) -> None:
    """Propose to read a batch's kept bytes again, as its feed is now (role operator); another person approves."""
    with door(context).writing() as vault:
        batch = full_id(vault, "batch", batch)
        found = rereading.propose(vault, door(context).person(vault), batch, reason)
    if as_json:
        print_object({"proposal_id": found.proposal_id, "kind": found.kind, "batch_id": batch})
    else:
        print_lines([told(found)])


def _propose_replacement(
    context: typer.Context,
    feed: str,
    files: list[Path],
    source: str | None,
    replaces: str,
    reason: str,
    *,
    as_json: bool,
) -> None:
    if len(files) != 1:
        raise UsageError(f"replacing batch {replaces}: one file takes its place, and {len(files)} were named")
    with door(context).writing() as vault:
        person = door(context).person(vault)
        replaces = full_id(vault, "batch", replaces)
        receipt, found = replacement.propose(vault, person, replaces, feed, source, files[0], reason)
    if as_json:
        print_object({"proposal_id": found.proposal_id, "kind": found.kind, "receipts": [asdict(receipt)]})
    else:
        show_receipts([receipt], as_json=False)
        print_lines([told(found)])


def _replace(vault: Vault, person: Person, proposal: Proposal) -> list[str]:
    done = replacement.carry_out(vault, person, proposal)
    stored = f"batch {done.receipt.batch_id} is stored instead: {done.receipt.stored} records"
    return [*(_told(done.withdrawn) if done.withdrawn else []), stored]


def _reread(vault: Vault, person: Person, proposal: Proposal) -> list[str]:
    done = rereading.carry_out(vault, person, proposal)
    stored = f"batch {done.receipt.batch_id} was read again: {done.receipt.stored} records"
    return [*(_told(done.withdrawn) if done.withdrawn else []), stored]


def _withdraw(vault: Vault, person: Person, proposal: Proposal) -> list[str]:
    return _told(withdrawal.carry_out(vault, person, proposal))


def _told(done: Withdrawal) -> list[str]:
    lines = [f"withdrew batch {done.batch_id}: {done.rows} records are gone, certified by {len(done.certificates)}"]
    lines += [f"disclosure {name} may have used records of it" for name in done.disclosures]
    return lines + [
        f"batch {name} had duplicates: what it shared with the withdrawn one went with that" for name in done.doubled
    ]


def show_receipts(receipts: list[Receipt], *, as_json: bool) -> None:
    """Prints receipts, with the reason of each that has one."""
    if as_json:
        print_object({"receipts": [asdict(receipt) for receipt in receipts]})
        return
    # A count that is nought in every receipt only takes room; --json has them all.
    counts = [name for name in COUNTS if name in ("read", "stored") or any(getattr(item, name) for item in receipts)]
    columns = ("batch_id", "file", "status", *counts)
    print_table("receipts", columns, [[getattr(item, name) for name in columns] for item in receipts])
    reasons = [(item, ", although" if item.status == "committed" else "") for item in receipts if item.reason]
    print_lines([f"{item.batch_id} {item.status}{although}: {item.reason}" for item, although in reasons])
