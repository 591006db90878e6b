"""Keeps, discloses and forgets: everything with power (keys, partitions, catalogue, warrants, expiry, audit)."""

import os

__version__ = "0.1.0"

# Before Polars is loaded, which reads it once: memory that a slice gave back is there for the next one, and the system
# need not be asked for it again. Ingest is a sixth faster for it.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:10000")

# Before NumPy is loaded: nothing here is linear algebra, and its library would start a thread for each core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
