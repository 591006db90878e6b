"""The desk that customers turn to: each request is made to vault and oracle; what they disagree about is returned."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from tests.simulation.book import Statement
from tests.simulation.mirror import Mirror
from tests.support import signed_in
from trafficvault import answering, rights
from trafficvault.errors import RefusedError
from trafficvault.rights_rules import ACCESS, ERASE, PORT, RECTIFY, RESTRICT, Ask

SINCE = datetime(2025, 1, 1, tzinfo=UTC)


class Desk:
    """Otto takes requests, Piet decides on them, Olga carries them out."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.restrictions: dict[str, str] = {}
        """The requests by which records are restricted, by number."""

    def registered(self, right: str, number: str) -> str:
        """A request, as Otto writes it down."""
        now = self.mirror.now
        asked = Ask(
            right,
            [("msisdn", number)],
            SINCE,
            now,
            now,
            "in-person",
            now,
            "That was not me." if right == RECTIFY else None,
        )
        return rights.add(self.mirror.vault, signed_in(self.mirror.vault, "otto"), asked)

    def refuse(self, right: str, number: str, ground: str) -> list[str]:
        """Piet takes two months longer, and then refuses a request."""
        vault, piet = self.mirror.vault, signed_in(self.mirror.vault, "piet")
        request = self.registered(right, number)
        rights.extend(vault, signed_in(vault, "otto"), request, "complex")
        return self._is(rights.refuse(vault, piet, request, ground).state, "refused", right)

    def grant(self, right: str, number: str) -> list[str]:
        """A request is granted and carried out; made twice at one moment, it is one, and only exported again."""
        mirror = self.mirror
        vault, piet = mirror.vault, signed_in(mirror.vault, "piet")
        request = self.registered(right, number)
        is_new = rights.load(vault, request).state == "registered"
        if is_new:
            rights.approve(vault, piet, request)
        olga = signed_in(vault, "olga")
        if right in (ACCESS, PORT):
            return self._exported(right, number, request)
        if not is_new:
            return []
        if right == ERASE and number in self.restrictions:
            return self._refused(request)
        done = answering.answer(vault, olga, request)
        told = self._is(done.state, "answered", right)
        if right == RESTRICT:
            self.restrictions[number] = request
        if right == RECTIFY:
            mirror.book.statements.append(Statement(number, mirror.now))
        if right == ERASE:
            expected = mirror.book.erase(number, mirror.now)
            if len(done.certificates) != expected:
                told.append(f"{mirror.at()}: an erasure gave {len(done.certificates)} certificates, not {expected}")
        return told

    def lift(self, number: str) -> list[str]:
        """Piet ends a restriction."""
        vault = self.mirror.vault
        request = self.restrictions.pop(number)
        rights.lift(vault, signed_in(vault, "piet"), request)
        return self._is(rights.load(vault, request).state, "lifted", RESTRICT)

    def _refused(self, request: str) -> list[str]:
        vault = self.mirror.vault
        try:
            answering.answer(vault, signed_in(vault, "olga"), request)
        except RefusedError:
            rights.refuse(vault, signed_in(vault, "piet"), request, "legal-claims")
            return []
        return [f"{self.mirror.at()}: records were erased although they are restricted"]

    def _exported(self, right: str, number: str, request: str) -> list[str]:
        mirror = self.mirror
        out = mirror.directory / f"answer-{request}"
        done = answering.answer(mirror.vault, signed_in(mirror.vault, "olga"), request, out)
        rows: list[dict[str, Any]] = json.loads((out / "records.json").read_bytes())["records"]
        shutil.rmtree(out)
        found: Counter[tuple[object, ...]] = Counter(
            (row["record_class"], row["batch"], datetime.fromisoformat(row["start"]), row.get("start_cell"))
            for row in rows
        )
        wanted = mirror.book.subject(number, mirror.now, portable=right == PORT)
        mirror.told[f"records given to customers ({right})"] += len(rows)
        told = self._is(done.state, "answered", right)
        told += [f"{mirror.at()}: {one} was given to a customer ({right})" for one in found - wanted]
        return told + [f"{mirror.at()}: {one} was not given to its customer ({right})" for one in wanted - found]

    def _is(self, state: str, wanted: str, right: str) -> list[str]:
        return [] if state == wanted else [f"{self.mirror.at()}: a request ({right}) is {state}, and not {wanted}"]
