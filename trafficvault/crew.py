"""A crew: workers that take things off a row one by one, each does the whole of its thing, and what must be done in
order is done in order.

A worker is a thread: what it calls must let go of Python's lock for two of them to be faster than one. The first error
of any worker ends the whole crew and is the caller's; so does an interrupt of the caller, however often it comes.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_LOOK: Final = 1.0
"""Seconds after which the caller looks for itself whether all workers ended: an interrupt may swallow what woke it."""


class _EndedError(Exception):
    """Another worker failed: this one has nothing to do any more."""


class Turn:
    """What a worker enters (`with turn:`) to do what must be done in the order of the row."""

    def __init__(self, row: _Row, number: int) -> None:
        self._row, self._number = row, number

    def __enter__(self) -> None:
        """Waits until all things before this one have had their turn."""
        with self._row.changed:
            self._row.changed.wait_for(lambda: self._row.error is not None or self._row.turn >= self._number)
            if self._row.error is not None:
                raise _EndedError

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Lets the next one in."""
        with self._row.changed:
            self._row.turn = max(self._row.turn, self._number + 1)
            self._row.changed.notify_all()


class _Row:
    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.taking = threading.Lock()
        self.turn = 0
        self.taken = 0
        self.error: BaseException | None = None
        self.begun = 0
        self.over = 0
        self.ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def fail(self, error: BaseException) -> None:
        with self.changed:
            self.error = self.error or error
            self.changed.notify_all()

    def begin(self) -> None:
        with self.changed:
            self.begun += 1

    def end(self) -> None:
        with self.changed:
            self.over += 1
            # One that ended for an interrupt took no turn: who waits for it is to look again.
            self.changed.notify_all()
        self.ended.put(None)

    def wait(self, workers: int) -> None:
        """Until so many have ended, or all that began before an error; an interrupt meanwhile is the row's error.

        Not by `Thread.join`, which takes a thread for ended when it is interrupted, and without a lock, which an
        interrupt could leave taken.
        """
        while self.over < self.begun or (self.error is None and self.begun < workers):
            try:
                self.ended.get(timeout=_LOOK)
            except queue.Empty:
                continue
            except BaseException as interrupt:  # whatever it is, it is the caller's, when the workers are done
                self.error = self.error or interrupt


class Crew(Generic[T]):
    """Workers over one row of things."""

    def __init__(self, things: Iterator[T], work: Callable[[int, T, Turn], None], workers: int) -> None:
        """`work` gets the number of the worker, from 0, a thing, and the turn, which it enters once at most."""
        self._things, self._work, self._workers = things, work, workers
        self.done = False

    def run(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Works until the row is empty (`done` is true then) or `enough` holds; what was taken is finished either way.

        Raises what the first failing worker, or the row itself, raised.
        """
        row = _Row()
        if self._workers == 1:
            self._take(row, 0, enough)
        else:
            try:
                for number in range(self._workers):
                    threading.Thread(target=self._begin, args=(row, number, enough)).start()
            except BaseException as error:  # one that begins after this ends at once
                row.fail(error)
            row.wait(self._workers)
        if row.error is not None:
            raise row.error

    def _begin(self, row: _Row, worker: int, enough: Callable[[], bool]) -> None:
        row.begin()
        try:
            self._take(row, worker, enough)
        finally:
            row.end()

    def _take(self, row: _Row, worker: int, enough: Callable[[], bool]) -> None:
        try:
            while True:
                with row.taking:
                    if self.done or row.error is not None or enough():
                        return
                    number = row.taken
                    try:
                        thing = [next(self._things)]
                    except StopIteration:
                        self.done = True
                        return
                    row.taken += 1
                turn = Turn(row, number)
                # Handed over for good: a thing is large, and whoever works on it lets it go when it is done with it.
                self._work(worker, thing.pop(), turn)
                with turn:  # of a thing that took none, so that the next ones need not wait for it
                    pass
        except _EndedError:
            return
        except BaseException as error:  # whatever it is, it is the caller's
            row.fail(error)
