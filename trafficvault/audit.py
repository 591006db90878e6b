"""The audit log: what was done, by whom and when, in an order that nobody changes unseen.

    enter (in the act's transaction: outbox row, new head) → COMMIT → flush (segment appended, fsync; outbox emptied)

An entry exists from the act's COMMIT on: signed, chained to the one before, its detail sealed, in the catalogue's
outbox. `flush` brings it to its segment and raises when it can't; an act calls it before a key opens anything and
before a package is released, so that what isn't in the log doesn't leave. A crash between COMMIT and flush, or amid
either, is finished by the next flush: the same lines, none twice.

The head in the catalogue and the segments on disk guard each other: a log whose end was cut is behind the head, and a
catalogue of an older state is behind the log. Both stop the next `enter`. The form on disk is `trafficvault.chain`'s;
`trafficvault.audit_reading` reads it.

Each segment's bodies lie under a key of its own, `audit/<number>` in the ring, which dies when the segment has reached
its term (`trafficvault.segments`). It is made by a process that holds the writer's lock, one segment ahead, so that the
others always find it.

What the vault states to outsiders, its certificates, an entry names in clear by digest (`attest`): a proof that the
entry is in the log is then one of the statement.

A vault directory put back as a whole agrees with itself; what the key directory remembers of the log
(`trafficvault.memory`) shows that.

Trusted time is the moment up to which the log believes the clock. It moves with the entries, by `max_clock_step` at
most: an entry beyond carries `"clock":"jumped"` and moves nothing, so a clock that jumped isn't made true by use.
"""

from __future__ import annotations

import base64
import errno
import itertools
import json
import weakref
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from trafficvault import chain, sealing, signing
from trafficvault.audit_reading import HEAD, AuditKeys, AuditReader, VaultName
from trafficvault.catalogue import Catalogue, Transaction
from trafficvault.chain import Head, Line
from trafficvault.clock import Clock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, SpaceError, VaultError
from trafficvault.inspection import State
from trafficvault.layout import Layout, segment_key_id
from trafficvault.memory import Memory, rolled_back
from trafficvault.period import Period

TRUSTED_TIME = "trusted_time"
BACK = timedelta(minutes=15)
"""How far a clock may lie behind trusted time before it went back."""


class ClockRule(Protocol):
    """What the log needs of the policy."""

    @property
    def max_clock_step(self) -> Period:
        """The most that trusted time moves at once."""
        ...


def judge_clock(trusted: datetime | None, now: datetime, max_step: timedelta) -> str | None:
    """`jumped` or `back` when `now` is not to be believed after `trusted`; None when it is."""
    if trusted is None:
        return None
    if now - trusted > max_step:
        return "jumped"
    return "back" if trusted - now > BACK else None


def trusted_time(tx: Transaction) -> datetime | None:
    """The moment up to which the log of this catalogue believes the clock; None before the first entry."""
    stored = tx.meta(TRUSTED_TIME)
    return None if stored is None else datetime.fromisoformat(stored)


class AuditLog(AuditReader):
    """The audit log of one vault, for who writes it, and reads it too."""

    def __init__(
        self,
        layout: Layout,
        disk: Disk,
        catalogue: Catalogue,
        keys: AuditKeys,
        settings: VaultName,
        policy: ClockRule,
        clock: Clock,
        *,
        entries_per_segment: int = chain.ENTRIES_PER_SEGMENT,
        makes_keys: bool = False,
    ) -> None:
        """`makes_keys` is for the holder of the writer's lock, who alone may write the key ring."""
        memory = Memory(layout, disk, settings.id, lambda: keys.custody("audit").key("audit"))
        super().__init__(layout, catalogue, keys, settings, memory, entries_per_segment)
        self._disk = disk
        self._max_step = policy.max_clock_step.delta()
        self._clock = clock
        self._makes_keys = makes_keys
        self._in_step = False
        self._stated: weakref.WeakKeyDictionary[Transaction, list[str]] = weakref.WeakKeyDictionary()

    def enter(self, tx: Transaction, act: str, person: str | None, detail: Mapping[str, object]) -> int:
        """Writes one entry, committed with `tx`; `person` is None for what needs none. Returns its number.

        Raises `FaultError` when catalogue and segments are not of one moment: nothing may be added to either then.
        """
        if not self._in_step:
            self.require_in_step(tx)
        now, trusted = self._clock.now(), self.trusted_time(tx)
        doubt = judge_clock(trusted, now, self._max_step)
        if trusted is None or (doubt is None and now > trusted):
            tx.set_meta(TRUSTED_TIME, signing.instant(now))
        head = self._head(tx)
        seq = head.seq + 1
        stated = self._stated.pop(tx, [])
        content = signing.canonical({"act": act, "person": person, "detail": dict(detail)})
        body = base64.b64encode(sealing.seal(self._new_body_key(seq), content, self._place(seq))).decode()
        line = chain.write_line(head, signing.instant(now), body, doubt, self._keys.signing_key(), stated)
        tx.put("outbox", seq=seq, line=line.decode())
        tx.set_meta(HEAD, signing.canonical({"seq": seq, "hash": json.loads(line)["hash"]}).decode())
        return seq

    def go_on(self, tx: Transaction, end: Head, trusted: datetime) -> None:
        """Takes `end` for the last entry: those up to it were put into the outbox. For `trafficvault.replay`."""
        tx.set_meta(HEAD, signing.canonical({"seq": end.seq, "hash": end.hash}).decode())
        tx.set_meta(TRUSTED_TIME, signing.instant(trusted))

    def next_entry(self, tx: Transaction) -> int:
        """The number that the next entry of `tx` will have."""
        return self._head(tx).seq + 1

    def attest(self, tx: Transaction, digest: str) -> None:
        """The next entry of `tx` names `digest` (SHA-256, hex) in clear: of what the vault states to outsiders."""
        self._stated.setdefault(tx, []).append(digest)

    def prepare(self) -> None:
        """Sees that the segment which the next entry goes to, and the one behind it, have their keys in the ring.

        For the holder of the writer's lock.
        """
        number = chain.segment_of(self._read_state().head.seq + 1, self._size)
        self._keys.ensure([segment_key_id(number), segment_key_id(number + 1)])

    def require_in_step(self, tx: Transaction) -> None:
        """Returns when catalogue, segments and the keys' memory are of one moment; `enter` and `flush` ask it too.

        For a writer, before it sweeps or destroys anything. `tx` is one that writes: beside a mere reader others go on.
        Raises `FaultError` for a catalogue or vault of an older state, and for a log whose end is not the catalogue's.
        """
        self._require_in_step(self._state(tx))

    def flush(self) -> None:
        """Brings every committed entry to its segment, durably; does nothing when all are there.

        Begins a transaction of its own, so it is not called within one; it may go on beside other work, on a thread.
        Emptying the outbox is not made durable by itself: a power cut that undoes it leaves a flush that failed after
        its lines were written, which the next one finishes.
        Raises `SpaceError` or `VaultError` when the log can't be written: the caller must let nothing leave.
        """
        try:
            with self._catalogue.transaction(durable=False) as tx:
                state = self._state(tx)
                clean = self._require_in_step(state)
                if state.pending:
                    self._append(state, clean=clean)
                    # Before the outbox is emptied, so that a memory that a crash prevented is made up for.
                    self._memory.remember(state.head)
                # If we crash before this commit, the next flush finds the lines in place and comes here again.
                for line in state.pending:
                    tx.delete("outbox", seq=line.seq)
        except OSError as problem:
            raise _unwritable(problem) from problem

    def trusted_time(self, tx: Transaction) -> datetime | None:
        """The moment up to which the log believes the clock; None before the first entry."""
        return trusted_time(tx)

    def moment(self) -> datetime:
        """Now, and never before the last moment that the log believes: a clock that was set back makes no term, and no
        hold, longer.
        """
        with self._catalogue.reading() as tx:
            now, trusted = self._clock.now(), self.trusted_time(tx)
        return now if trusted is None else max(now, trusted)

    def clock_problem(self, now: datetime) -> str | None:
        """Why `now` is not to be believed, as the start of a sentence; None when it is."""
        with self._catalogue.reading() as tx:
            trusted = self.trusted_time(tx)
        doubt = judge_clock(trusted, now, self._max_step)
        if trusted is None or doubt is None:
            return None
        clock, mark = signing.instant(now), signing.instant(trusted)
        if doubt == "jumped":
            limit = f"`max_clock_step` allows {_spoken(self._max_step)}"
            return f"the clock says {clock}, {_spoken(now - trusted)} past the last trusted moment {mark}; {limit}"
        return f"the clock says {clock}, {_spoken(trusted - now)} before the last trusted moment {mark}: it went back"

    def accept_clock(self, tx: Transaction, person: str, now: datetime) -> int:
        """Believes `now` from here on, forwards or back, because `person` says so. The caller has checked the role."""
        trusted = self.trusted_time(tx)
        tx.set_meta(TRUSTED_TIME, signing.instant(now))
        before = None if trusted is None else signing.instant(trusted)
        return self.enter(tx, "accept-clock", person, {"from": before, "to": signing.instant(now)})

    def _require_in_step(self, state: State) -> bool:
        """Whether nothing stands beyond the settled entry. Raises `FaultError` when not all are of one moment."""
        self._in_step = False
        clean = self._require_log_in_step(state)
        remembered = self._memory.recall()
        if remembered is not None:
            behind = rolled_back(remembered, state.head, state.hash_of(remembered.seq))
            if behind is not None:
                raise FaultError(behind.sentence, hint=behind.hint)
        self._in_step = True
        return clean

    def _require_log_in_step(self, state: State) -> bool:
        settled, directory = state.settled, self._layout.audit
        if chain.ends_with(directory, settled, self._size):
            return True
        number = chain.segment_of(max(1, settled.seq), self._size)
        place, beyond = (number - 1) * self._size, False
        last: Line | None = None
        while (path := self._layout.segment(number)).is_file():
            # A file with nothing settled in it, even an empty one, is left by a flush that failed.
            beyond = beyond or settled.seq <= (number - 1) * self._size
            for line in chain.split_lines(path, number, self._size):
                if line.seq > settled.seq:
                    state.require_known(line)
                    beyond = True
                else:
                    place, last = line.seq, line
            number += 1
        if last is not None:
            entry = chain.read_line(last)
            state.require_settled(Head(entry["seq"], entry["hash"]))
        elif settled.seq > 0:
            state.require_settled(Head(place, ""))
        return not beyond

    def _append(self, state: State, *, clean: bool) -> None:
        self._disk.make_directory(self._layout.audit)
        for number, group in itertools.groupby(state.pending, lambda line: chain.segment_of(line.seq, self._size)):
            wanted = [line.content for line in group]
            path = self._layout.segment(number)
            if clean:
                self._disk.append(path, _joined(wanted))
                continue
            # Lines beyond the settled entry are of a flush that failed, maybe in its fsync: then the system holds them
            # for written though they are not, and only a new file makes sure.
            stored = chain.split_lines(path, number, self._size) if path.is_file() else []
            settled = [line.content for line in stored if line.seq < state.pending[0].seq]
            self._disk.create(path, _joined(settled + wanted))

    def _new_body_key(self, seq: int) -> bytes:
        name, custody = segment_key_id(chain.segment_of(seq, self._size)), self._keys.custody("audit")
        if not custody.has(name):
            if not self._makes_keys:
                raise VaultError(
                    f"entering {seq} into the audit log: its segment has no key in the ring this process opened",
                    hint="do it again; if that does not help, `trafficvault expire` makes the key",
                )
            # Durable before the transaction that uses it; one that is never used is the next entry's.
            self._keys.ensure([name])
        return custody.key(name)


def _joined(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _spoken(step: timedelta) -> str:
    days, rest = divmod(int(step.total_seconds()), 86400)
    return f"{days} days" if days else f"{rest // 3600} h {rest % 3600 // 60} min"


def _unwritable(problem: OSError) -> VaultError:
    reason = f"{problem.strerror or type(problem).__name__}; nothing leaves the vault until it can be written"
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpaceError(f"writing the audit log: {reason}")
    return VaultError(f"writing the audit log: {reason}")
