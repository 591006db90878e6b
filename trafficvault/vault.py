"""The opened vault: its parts side by side, handed to the acts. `trafficvault.app` builds it; nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.learned import Learned
from ingest.source import Source
from trafficvault.audit import AuditLog
from trafficvault.catalogue import Catalogue
from trafficvault.clock import Clock
from trafficvault.durable import Disk
from trafficvault.holdings import Holdings
from trafficvault.keys import KeyStore
from trafficvault.layout import Layout
from trafficvault.openings import Openings
from trafficvault.policy import Policy
from trafficvault.recent import Recent
from trafficvault.settings import Settings
from trafficvault.shelf import FeedShelf


@dataclass(slots=True)
class Tidy:
    """Whether this process may have left, or found, files that nobody owns: then the next receipt sweeps first."""

    needs_sweep: bool = True


@dataclass(frozen=True, slots=True)
class Vault:
    """The parts of one opened vault."""

    layout: Layout
    settings: Settings
    policy: Policy
    feeds: FeedShelf
    sources: Mapping[str, Source]
    disk: Disk
    clock: Clock
    catalogue: Catalogue
    keys: KeyStore
    audit: AuditLog
    shortens: tuple[str, ...] = ()
    """What policy.toml would shorten; while it says something, `policy` is the version that rules, and not that."""
    policy_waits: bool = False
    """Whether policy.toml is entered as a version only when the clock is believed; until then it does not rule."""
    recent: Recent = field(default_factory=Recent, compare=False, repr=False)
    learned: Learned = field(default_factory=Learned, compare=False, repr=False)
    tidy: Tidy = field(default_factory=Tidy, compare=False, repr=False)
    holdings: Holdings = field(default_factory=Holdings, compare=False, repr=False)
    openings: Openings = field(default_factory=Openings, compare=False, repr=False)
