"""A target: what a warrant looks for, and in which window, in the normal form that records hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

TYPES = frozenset(
    {
        "msisdn", "extension", "imsi", "imei", "iccid", "ip", "ip_port", "prefix", "mac", "email", "line", "user",
        "session", "cell", "uri", "number_range",
    }
)  # fmt: skip
"""Every type of target; `queries.matching` tells where in a record each is found."""

_ADDRESSES = ("ip", "ip_port", "prefix")
_V4_MAPPED_BITS = 96


class ScopeError(Exception):
    """A scope, or the rows given to it, are not of the right form."""


@dataclass(frozen=True, slots=True)
class Target:
    """One target of a warrant and its window [`start`, `end`), in the normal form that records hold.

    `value` is text, or 16 bytes for `ip`, `ip_port` and `prefix` (IPv4 as IPv4-mapped IPv6); `upper` is the last
    number of a `number_range`, `port` that of an `ip_port`, `length` that of a `prefix`, in its own family (0–32 or
    0–128). Raises `ScopeError` when they do not fit together. A representation of it never shows the value.
    """

    type: str
    value: str | bytes = field(repr=False)
    start: datetime
    end: datetime
    upper: str | None = field(default=None, repr=False)
    port: int | None = field(default=None, repr=False)
    length: int | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuses what no record could be compared with."""
        if self.type not in TYPES:
            raise ScopeError(f"building a target: {self.type!r} is not a type of target")
        if self.start.utcoffset() is None or self.end.utcoffset() is None or self.end <= self.start:
            raise ScopeError(
                f"building a target ({self.type}): its window needs two moments with offset, the later last"
            )
        is_address = self.type in _ADDRESSES
        if is_address != isinstance(self.value, bytes) or (is_address and len(self.value) != 16):
            raise ScopeError(
                f"building a target ({self.type}): its value must be {'16 bytes' if is_address else 'text'}"
            )
        required = {"number_range": "upper", "ip_port": "port", "prefix": "length"}.get(self.type)
        given = {name for name in ("upper", "port", "length") if getattr(self, name) is not None}
        if given != ({required} if required else set()):
            raise ScopeError(f"building a target ({self.type}): it takes {required or 'none'} of upper, port, length")
        if self.upper is not None and len(self.upper) != len(self.value):
            raise ScopeError("building a target (number_range): both ends must have the same length")
        if self.length is not None and not 0 <= self.length <= (32 if self.is_v4 else 128):
            raise ScopeError("building a target (prefix): its length is not one of its address family")

    @property
    def address(self) -> bytes:
        """The 16 bytes of an address target."""
        if not isinstance(self.value, bytes):
            raise ScopeError(f"reading the address of a target: a target of type {self.type} has none")
        return self.value

    @property
    def is_v4(self) -> bool:
        """Whether the address is an IPv4 one."""
        return IPv6Address(self.address).ipv4_mapped is not None

    @property
    def bits(self) -> int:
        """How many leading bits of the 128 belong to the target."""
        if self.length is None:
            return 128
        return self.length + (_V4_MAPPED_BITS if self.is_v4 else 0)

    @property
    def text(self) -> str:
        """The value as a person writes it."""
        if not isinstance(self.value, bytes):
            return self.value if self.upper is None else f"{self.value}..{self.upper}"
        wide = IPv6Address(self.value)
        shown: IPv4Address | IPv6Address = wide.ipv4_mapped or wide
        if self.port is not None:
            return f"{shown}:{self.port}" if shown.version == 4 else f"[{shown}]:{self.port}"
        return str(shown) if self.length is None else f"{shown}/{self.length}"
