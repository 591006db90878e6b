"""Allocating: where Arrow's memory comes from while whole days, or large files, are moved through it.

Arrow's own choice, mimalloc, takes huge pages and gives them back late: a day of four million records took 1.7 GiB with
it and 1.3 GiB with jemalloc, and a tenth more processor time, spent on the kernel clearing pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


@contextmanager
def sparing() -> Iterator[None]:
    """Arrow allocates from jemalloc, where it was built with it. Process-wide; what was allocated before stays."""
    before = pa.default_memory_pool()
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
