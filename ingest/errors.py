"""What can go wrong before a record exists: a feed that cannot be trusted, a file that cannot be read as that feed.

A row that is malformed is not an error: it is a rejection, a value (see `ingest.read`). Messages are sentences for the
operator; they cite feed, file form and row, never a value out of a row.
"""

from __future__ import annotations


class IngestError(Exception):
    """Base of the errors of this package; by itself it means that the reader broke one of its own invariants."""


class FeedError(IngestError):
    """A feed definition is not of the right form, or one of its examples does not give what it promises."""


class FileRefused(IngestError):
    """A whole file is refused: wrong form, truncated, over the limit or not decodable. No record of it is kept."""
