"""The opened vault: its parts side by side, handed to the acts. `trafficvault.app` builds it; nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingest.feed import Feed
from ingest.source import Source
from trafficvault.audit import AuditLog
from trafficvault.catalogue import Catalogue
from trafficvault.clock import Clock
from trafficvault.durable import Disk
from trafficvault.keys import KeyStore
from trafficvault.layout import Layout
from trafficvault.policy import Policy
from trafficvault.settings import Settings


@dataclass(frozen=True, slots=True)
class Vault:
    """The parts of one opened vault."""

    layout: Layout
    settings: Settings
    policy: Policy
    feeds: Mapping[str, Feed]
    sources: Mapping[str, Source]
    disk: Disk
    clock: Clock
    catalogue: Catalogue
    keys: KeyStore
    audit: AuditLog
