"""Verbs that prove to an outsider: certificates, checkpoints of the audit log, and where data of a day lies."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from ingest.record import CLASSES
from trafficvault import attestation, certificates, notes, publishing, timestamps, wording
from trafficvault import inventory as taking
from trafficvault.cli.door import AsJson, door
from trafficvault.cli.files import given, read_text, write
from trafficvault.cli.keeping import audit_verbs
from trafficvault.cli.orders import require_reader
from trafficvault.cli.screen import facts_for_people, plain, print_lines, print_object, print_table
from trafficvault.errors import UsageError
from trafficvault.signing import canonical

certificate_verbs = typer.Typer(no_args_is_help=True, help="Certificates of deletion.")


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`."""
    app.add_typer(certificate_verbs, name="certificate")
    app.command("inventory")(inventory)


@certificate_verbs.command("list")
def certificate_list(context: typer.Context, as_json: AsJson = False) -> None:
    """List certificates, oldest first."""
    vault = door(context).open()
    found = certificates.listing(vault)
    if as_json:
        print_object({"certificates": found})
    else:
        columns = ("id", "what", "class", "day", "records", "deleted_at", "final_at")
        rows = [facts_for_people(one, vault.policy.zone) for one in found]
        print_table("certificates", columns, [tuple(row.get(name) for name in columns) for row in rows])


@certificate_verbs.command("show")
def certificate_show(
    context: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it.")],
    out: Annotated[
        Path | None, typer.Option(help="Write it there with its proof and the signed checkpoint, for `verify`.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Prove it under this checkpoint, which somebody kept, and not the newest.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a certificate; with --out, write it with its proof for an outsider."""
    vault = door(context).open()
    if out is None:
        if checkpoint is not None:
            raise UsageError("--checkpoint goes with --out: the proof is part of the export")
        found = certificates.find(vault, identity)
        if as_json:
            print_object(found)
        else:
            facts = [(name, plain(value)) for name, value in facts_for_people(found, vault.policy.zone).items()]
            print_table("certificate", ("what", "value"), facts)
        return
    export = certificates.export(vault, identity, None if checkpoint is None else read_text(checkpoint))
    write(out, canonical(export) + b"\n")
    if as_json:
        print_object({"id": export["id"], "file": str(out), "proved": "proof" in export})
    else:
        print_lines([f"certificate {export['id']} is in {out}"])


@certificate_verbs.command("verify")
def certificate_verify(
    file: Annotated[Path, typer.Argument(help="A certificate that `show --out` wrote.")],
    public_key: Annotated[
        str | None, typer.Option(metavar="HEX|FILE", help="The vault's public key, or a file with it (vault.toml).")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A checkpoint that was kept outside the vault.")] = None,
    tsa_root: Annotated[
        Path | None, typer.Option(help="The root certificate (PEM) of the authority that stamped the checkpoint.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a certificate without a vault, and say what it attests and what is proved (exit code 5 on a fault)."""
    key = None if public_key is None else attestation.read_public_key(given(public_key))
    content = attestation.read_file(read_text(file))
    verdict = attestation.check(content, key, None if checkpoint is None else read_text(checkpoint))
    proved = list(verdict.proved)
    if tsa_root is not None:
        stamp, note = attestation.stamp_of(content)
        at = timestamps.stamped_at(stamp, note, read_text(tsa_root).encode())
        proved.append(f"the checkpoint was there by {wording.moment(at, 'UTC')}, says the time-stamping authority")
    if as_json:
        told = {"attested": verdict.attested, "proved": proved, "open": list(verdict.open)}
        print_object({"certificate": verdict.certificate, **told})
        return
    print_lines([f"certificate {verdict.certificate}", f"attested: {verdict.attested}"])
    print_lines([*(f"proved: {one}" for one in proved), *(f"open: {one}" for one in verdict.open)])


@audit_verbs.command("checkpoint")
def audit_checkpoint(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option(help="Write the signed note there too (its time stamp: FILE.tsr).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign how far the audit log has come, have it time-stamped, and send it to the second places."""
    with door(context).writing() as vault:
        done = publishing.publish(vault)
        verifier_key = notes.verifier_key(notes.origin_of(vault.settings.id), vault.settings.public_key)
    row, problems = done.row, list(done.problems)
    if out is not None:
        write(out, str(row["note"]).encode())
        if row["stamp"] is not None:
            write(out.with_name(f"{out.name}.tsr"), bytes.fromhex(row["stamp"]))
    if as_json:
        told = {name: row[name] for name in ("size", "root", "note")}
        print_object(told | {"verifier_key": verifier_key, "sent": list(done.sent), "problems": problems})
    else:
        print_lines([str(row["note"]).rstrip("\n"), *problems])


def inventory(
    context: typer.Context,
    day: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The UTC day.")],
    record_class: Annotated[str | None, typer.Option("--class", help="Of this class only.")] = None,
    as_json: AsJson = False,
) -> None:
    """List every place where data of a day lies; after its expiry, what says that it was.

    What holds keep of it is listed for an officer, approver or auditor alone (with --user).
    """
    try:
        wanted = date.fromisoformat(day)
    except ValueError:
        raise UsageError(f"--day is {day!r}; write a date such as 2026-03-01") from None
    if record_class is not None and record_class not in CLASSES:
        raise UsageError(f"--class is {record_class!r}; known are {', '.join(CLASSES)}")
    vault, reads = door(context).open(), door(context).user is not None
    if reads:
        require_reader(door(context).person(vault))
    found = taking.take(vault, wanted, record_class, with_held=reads)
    if as_json:
        print_object(found.as_dict() | {"with_held": reads})
        return
    for title, places in (("data", found.data), ("may hold data", found.possible), ("remains", found.remains)):
        print_table(title, ("what", "where"), [(one.what, one.where) for one in places])
    if not reads:
        print_lines(["what holds may keep is told to an officer, approver or auditor alone (--user NAME)"])
