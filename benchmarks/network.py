"""The invented operator whose traffic the benchmarks make: its subscribers, their identifiers, and how uneven they are.

Nobody's identifiers: IMSIs of a network that is not assigned (204-99), mobile numbers of a range that is not issued
(+31 60…), IMEIs of a reporting body that does not exist (00), addresses of the documentation and benchmarking ranges
(RFC 5737, RFC 2544, RFC 3849), mail at `example.org`. Everything is computed from a subscriber's rank, 0 for the
busiest, so that a benchmark can name whom it looks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

FIRST_NUMBER = 31_600_000_000
FIRST_IMSI = 204_990_000_000_000
_FIRST_IMEI = 10_000_000_000
_FIRST_PUBLIC = int(IPv4Address("198.18.0.0"))
_FIRST_PREFIX = int(IPv6Network("2001:db8::/32").network_address)
DEVICES = 3
"""The most devices of one subscriber."""
BLOCK = 1_024
"""Ports of one CGNAT block."""
BLOCKS = 60
"""Blocks of one public address: ports 1,024 to 62,463."""

# Activity by local hour, relative: evenings are busier than nights.
_HOURS = (4, 2, 1, 1, 1, 2, 5, 9, 12, 13, 13, 14, 15, 14, 14, 15, 16, 18, 19, 20, 19, 16, 11, 7)
SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Network:
    """How many subscribers there are, and how uneven their traffic is: the share of rank r goes with 1 / (r + 1) **
    skew, 0 makes them all the same.
    """

    subscribers: int = 50_000
    skew: float = 0.8

    def number(self, subscriber: int) -> str:
        """The number of a subscriber, in international form without `+`."""
        return str(FIRST_NUMBER + subscriber)

    def imsi(self, subscriber: int) -> str:
        """The IMSI of a subscriber."""
        return str(FIRST_IMSI + subscriber)

    def imei(self, subscriber: int, device: int = 0) -> str:
        """The IMEI, 14 digits, of one of a subscriber's devices."""
        return f"{_FIRST_IMEI + subscriber * DEVICES + device:014d}"

    def mail(self, subscriber: int) -> str:
        """The mail address of a subscriber."""
        return f"user{subscriber}@example.org"

    def address(self, subscriber: int) -> str:
        """The public IPv4 address behind which a subscriber's CGNAT block is; 60 subscribers share one."""
        return str(IPv4Address(_FIRST_PUBLIC + subscriber // BLOCKS))

    def ports(self, subscriber: int) -> tuple[int, int]:
        """First and last port of a subscriber's CGNAT block."""
        first = 1_024 + subscriber % BLOCKS * BLOCK
        return first, first + BLOCK - 1

    def prefix(self, subscriber: int) -> str:
        """The IPv6 /56 of a subscriber, as its first address."""
        return str(IPv6Network((_FIRST_PREFIX + (subscriber << 72), 56)).network_address)

    def share(self, subscribers: int) -> float:
        """The share of traffic that the busiest `subscribers` make."""
        power = 1 - self.skew
        return float(((subscribers + 1) ** power - 1) / ((self.subscribers + 1) ** power - 1))

    def ranks(self, chance: np.random.Generator, rows: int) -> Numbers:
        """A subscriber per row, drawn by skew: the inverse of the continuous distribution function."""
        if self.skew == 1:
            raise ValueError("a skew of exactly 1 has another inverse; use 0.99 or 1.01")
        power = 1 - self.skew
        drawn = chance.random(rows)
        drawn *= (self.subscribers + 1) ** power - 1
        drawn += 1
        np.power(drawn, 1 / power, out=drawn)
        return np.minimum(drawn.astype(np.int64) - 1, self.subscribers - 1)


def moments(chance: np.random.Generator, rows: int, part: int = 0, parts: int = 1) -> Numbers:
    """Seconds of the local day for `rows` records of part `part` of `parts`, in time order but for a few late ones.

    The parts cut the day where each has an equal share of the traffic.
    """
    share = np.repeat(np.array(_HOURS, dtype=np.float64), SECONDS // len(_HOURS))
    passed = np.cumsum(share) / share.sum()
    low, high = np.searchsorted(passed, [part / parts, (part + 1) / parts])
    first, last = int(low), int(min(max(high, low + 1), SECONDS))
    window = share[first:last]
    counts = chance.multinomial(rows, window / window.sum())
    seconds = np.repeat(np.arange(first, last, dtype=np.int64), counts)
    late = chance.integers(0, rows, max(1, rows // 50)) if rows else np.empty(0, dtype=np.int64)
    seconds[late] = chance.permutation(seconds[late])
    return seconds
