"""Checkpoints: what the vault says of its audit log to others, so that it can't say otherwise later.

    make: log flushed → tree grown by the new entries, checked on the way → note signed → catalogue COMMIT

A checkpoint is a signed note of the number of entries and the root of the Merkle tree over their hashes
(`trafficvault.notes`, `trafficvault.merkle`). Whoever keeps one elsewhere can ask any time for a proof that the present
log begins with it, and that a certificate is in it. `make` signs only what it has read: the tree on disk must give the
root of the checkpoint before, and every entry since is followed by hash and signature. So a damaged tree is made again,
and a false root is never signed.

The caller of `make` holds the writer's lock; the others only read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trafficvault import chain, merkle, notes, signing
from trafficvault.audit import AuditLog
from trafficvault.audit_reading import DROPPED
from trafficvault.catalogue import Catalogue, Row, Transaction
from trafficvault.chain import Dropped, Head
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.layout import Layout
from trafficvault.notes import Checkpoint
from trafficvault.tree import Tree
from trafficvault.vault import Vault


@dataclass(frozen=True, slots=True)
class Inclusion:
    """That an entry is in the log of a checkpoint: the entry's line, the way from it to the root, and the note.

    `stamp` is the answer of a time-stamping authority over the note (DER, hex), where there is one.
    """

    line: str
    path: tuple[str, ...]
    checkpoint: str
    stamp: str | None


@dataclass(frozen=True, slots=True)
class Extension:
    """That the present log begins with that of a checkpoint, with the proof (RFC 9162 §2.1.4) for others."""

    before: int
    now: int
    root: str
    path: tuple[str, ...]


def latest(tx: Transaction) -> Row | None:
    """The newest checkpoint; None before the first."""
    rows = tx.select("checkpoints", order_by="size")
    return rows[-1] if rows else None


def origin(vault: Vault) -> str:
    """The name of the vault's log."""
    return notes.origin_of(vault.settings.id)


def make(vault: Vault) -> Row:
    """A checkpoint of the log as it is now; the newest there is when nothing was entered since."""
    vault.audit.flush()
    with vault.catalogue.reading() as tx:
        before, head = latest(tx), vault.audit.settled(tx)
        known = frontier(tx)
    if before is not None and before["size"] == head.seq:
        return before
    tree = _grown(vault, before, known, head)
    tree.save(vault.disk)
    note = Checkpoint(origin(vault), head.seq, tree.root())
    row = {
        "size": head.seq,
        "head": head.hash,
        "root": note.root.hex(),
        "note": notes.sign_note(note.text(), note.origin, vault.keys.signing_key()),
        "made_at": signing.instant(vault.clock.now()),
        "sent": "{}",
    }
    # If we crash here, the tree is longer than the catalogue knows, and the next run cuts it off.
    with vault.catalogue.transaction() as tx:
        tx.put("checkpoints", **row)
        found = tx.get("checkpoints", size=head.seq)
    assert found is not None  # noqa: S101 -- it was put in this transaction
    return found


def prove_entry(vault: Vault, seq: int, kept: str | None = None, note: str | None = None) -> Inclusion:
    """The proof that entry `seq` is in the log of the checkpoint `note`, else of the newest one.

    `kept` is the entry's line where its segment was dropped. Raises `RefusedError` when no checkpoint has the entry
    yet, or it was dropped and not kept; `FaultError` when the note is not of this log.
    """
    with vault.catalogue.reading() as tx:
        row, known, begin = latest(tx), frontier(tx), vault.audit.dropped(tx)
    newest = row["size"] if row else 0
    if row is None or newest < seq:
        raise RefusedError(
            f"proving entry {seq}: the newest checkpoint is of {newest} entries", hint="run `audit checkpoint` first"
        )
    text, stamp = (str(row["note"]), row["stamp"]) if note is None else (note, None)
    wanted = notes.read_checkpoint(text, origin(vault), vault.settings.public_key)
    if not seq <= wanted.size <= newest:
        raise RefusedError(f"proving entry {seq}: the checkpoint is of {wanted.size} entries, the newest of {newest}")
    if kept is None and seq <= begin.head.seq:
        raise RefusedError(f"proving entry {seq}: its segment has reached its term and was dropped")
    line = kept or vault.audit.line(seq).decode()
    path = merkle.inclusion_path(Tree(vault.layout, newest, known).node, seq - 1, wanted.size)
    leaf = merkle.leaf_hash(bytes.fromhex(json.loads(line)["hash"]))
    # Nothing leaves that does not hold: a tree that was damaged, or a note of another history, ends here.
    merkle.require_inclusion(leaf, seq - 1, wanted.size, path, wanted.root)
    return Inclusion(line, tuple(one.hex() for one in path), text, stamp)


def require_extends(vault: Vault, note: str) -> Extension:
    """That the log as it lies on disk begins with the log of the checkpoint `note`, read entry by entry.

    Raises `FaultError` when it does not: then entries were changed, or taken away, since the vault signed the note.
    """
    wanted = notes.read_checkpoint(note, origin(vault), vault.settings.public_key)
    with vault.catalogue.reading() as tx:
        row, known, begin, head = latest(tx), frontier(tx), vault.audit.dropped(tx), vault.audit.settled(tx)
    if wanted.size > head.seq:
        raise FaultError(
            f"comparing the log with a checkpoint: it has {head.seq} entries and the vault signed {wanted.size}: "
            "its end was taken away, or an older state was put back"
        )
    now = _reread(vault, known, begin, head.seq)
    if wanted.size < begin.head.seq:
        # What lies before the log's beginning is in the stored tree alone; it must lead to what the log goes on from.
        stored = Tree(vault.layout, row["size"] if row else 0, known)
        path = merkle.consistency_path(stored.node, wanted.size, begin.head.seq)
        forgotten = merkle.root_of([known[place] for place in merkle.frontier(begin.head.seq)])
        merkle.require_consistency(wanted.size, begin.head.seq, wanted.root, forgotten, path)
        tree = stored
        tree.add(_hashes(vault, _head_of(row, vault), head.seq))
    else:
        tree = now
    path = merkle.consistency_path(tree.node, wanted.size, head.seq) if wanted.size else []
    if wanted.size:
        merkle.require_consistency(wanted.size, head.seq, wanted.root, now.root(), path)
    return Extension(wanted.size, head.seq, now.root().hex(), tuple(one.hex() for one in path))


def frontier(tx: Transaction) -> dict[tuple[int, int], bytes]:
    """The hashes of what the log has forgotten, by their places; none when nothing was dropped."""
    stored = tx.meta(DROPPED)
    if stored is None:
        return {}
    content = json.loads(stored)
    return dict(zip(merkle.frontier(content["seq"]), map(bytes.fromhex, content["frontier"]), strict=True))


def frontier_at(vault: Vault, row: Row, size: int) -> list[str]:
    """The frontier of the first `size` entries, hex, out of the tree of checkpoint `row`, which has as many or more."""
    with vault.catalogue.reading() as tx:
        tree = Tree(vault.layout, row["size"], frontier(tx))
    return [tree.node(*place).hex() for place in merkle.frontier(size)]


def faults(vault: Vault) -> list[str]:
    """What is wrong with checkpoints, tree and the entries that name certificates, a sentence each.

    For `verify`: it reads the whole log.
    """
    with vault.catalogue.reading() as tx:
        rows, issued, known = tx.select("checkpoints", order_by="size"), tx.select("certificates"), frontier(tx)
        begin, head = vault.audit.dropped(tx), vault.audit.settled(tx)
    log = Tree.without_disk(vault.layout, begin.head.seq, known)
    stated: dict[str, int] = {}
    try:
        for entry, _ in vault.audit.entries(begin.head, head.seq):
            log.add([entry["hash"]])
            stated |= dict.fromkeys(entry.get("statements", ()), entry["seq"])
        found = _unstated(issued, stated, begin, vault.settings.public_key)
        for row in rows:
            note = notes.read_checkpoint(str(row["note"]), origin(vault), vault.settings.public_key)
            if note.size > head.seq or (note.size >= begin.head.seq and log.root(note.size) != note.root):
                found.append(f"checkpoint of {row['size']} entries: the log is not the one that was signed")
    except FaultError as fault:
        return [f"checkpoints: the log can't be held against them: {fault}"]
    if rows and not _is_whole(Tree(vault.layout, rows[-1]["size"], known), log, rows[-1], begin.head.seq):
        found.append("tree: it is not that of the log; nothing is lost: the next checkpoint makes it again")
    return found


def _unstated(issued: Iterable[Row], stated: Mapping[str, int], begin: Dropped, public_key: str) -> list[str]:
    """Certificates whose entry does not name them; those of versions without statements have none."""
    found = []
    for row in issued:
        body = json.loads(row["body"])
        digest, entry = signing.digest(body), body.get("entry")
        if entry is None or stated.get(digest) == entry or not _is_signed(row, public_key):
            continue
        if row["line"] is not None and entry <= begin.head.seq:
            line = chain.Line(entry, str(row["line"]).encode(), "kept")
            kept = chain.follow(Head(entry - 1, chain.read_line(line)["prev"]), line, public_key)
            if digest in kept.get("statements", ()):
                continue
        found.append(f"certificate {row['id']}: entry {entry} of the audit log does not name it")
    return found


def _is_signed(row: Row, public_key: str) -> bool:
    try:
        signing.require_signature(public_key, str(row["signature"]), str(row["body"]).encode(), "a certificate")
    except FaultError:
        return False  # that is a fault of its own
    return True


def _is_whole(stored: Tree, log: Tree, row: Row, first: int) -> bool:
    try:
        same = stored.root().hex() == row["root"]
        return same and all(stored.node(0, place) == log.node(0, place) for place in range(first, stored.size))
    except FaultError:
        return False


def mend(layout: Layout, disk: Disk, catalogue: Catalogue, audit: AuditLog) -> None:
    """Makes the stored tree of the newest checkpoint anew, from the log, where it is not whole; for `restore`.

    Raises `FaultError` when the log can't be read, or is not the one that was signed.
    """
    with catalogue.reading() as tx:
        row, known, begin = latest(tx), frontier(tx), audit.dropped(tx)
    if row is None:
        return
    log = Tree.without_disk(layout, begin.head.seq, known)
    log.add(entry["hash"] for entry, _ in audit.entries(begin.head, row["size"]))
    if _is_whole(Tree(layout, row["size"], known), log, row, begin.head.seq):
        return
    _require_root(log, row, "making the tree of the audit log again")
    log.save(disk)


def _grown(vault: Vault, before: Row | None, known: dict[tuple[int, int], bytes], head: Head) -> Tree:
    """The tree up to `head`: that of the checkpoint before and the entries since, or made anew where it is damaged."""
    if before is not None:
        tree = Tree(vault.layout, before["size"], known)
        try:
            whole = tree.root().hex() == before["root"]
        except FaultError:
            whole = False
        if whole:
            tree.add(_hashes(vault, _head_of(before, vault), head.seq))
            return tree
    with vault.catalogue.reading() as tx:
        begin = vault.audit.dropped(tx)
    tree = _reread(vault, known, begin, head.seq)
    if before is not None:
        _require_root(tree, before, "making a checkpoint")
    return tree


def _require_root(tree: Tree, row: Row, doing: str) -> None:
    if tree.root(row["size"]).hex() != row["root"]:
        raise FaultError(
            f"{doing}: the log is not the one whose first {row['size']} entries were signed before",
            hint="run `verify`; restore the newest copy of the vault",
        )


def _reread(vault: Vault, known: dict[tuple[int, int], bytes], begin: Dropped, until: int) -> Tree:
    """The tree of the log as it lies on disk, each entry checked; of what was dropped, its frontier."""
    tree = Tree.without_disk(vault.layout, begin.head.seq, known)
    tree.add(_hashes(vault, begin.head, until))
    return tree


def _hashes(vault: Vault, after: Head, until: int) -> Iterable[str]:
    return (entry["hash"] for entry, _ in vault.audit.entries(after, until))


def _head_of(row: Row | None, vault: Vault) -> Head:
    return chain.genesis(vault.settings.id) if row is None else Head(row["size"], row["head"])
