"""Keeps, discloses and forgets: everything with power (keys, partitions, catalogue, warrants, expiry, audit)."""

__version__ = "0.1.0"
