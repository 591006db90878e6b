"""A crew: everything is done once, in order where it must be, and an error of one ends all."""

from __future__ import annotations

import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from trafficvault.crew import Crew, Turn


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A shell that starts the tests in the background has their process ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_each_thing_is_done_once_and_its_turn_is_in_order(workers: int) -> None:
    """Whoever does it; one that takes no turn holds up nobody."""
    done: list[int] = []
    in_order: list[int] = []
    lock = threading.Lock()

    def work(worker: int, thing: int, turn: Turn) -> None:
        assert 0 <= worker < workers
        if thing % 3:
            with turn:
                in_order.append(thing)
        with lock:
            done.append(thing)

    crew = Crew(iter(range(100)), work, workers)
    crew.run()
    assert crew.done
    assert sorted(done) == list(range(100))
    assert in_order == [thing for thing in range(100) if thing % 3]


@pytest.mark.parametrize("workers", [1, 3])
def test_it_pauses_and_goes_on(workers: int) -> None:
    """`enough` ends a run after what was taken is finished; the next run takes the rest."""
    done: list[int] = []
    crew = Crew(iter(range(20)), lambda worker, thing, turn: done.append(thing), workers)
    runs = 0
    while not crew.done:
        before = len(done)
        crew.run(lambda: len(done) >= before + 5)  # noqa: B023  # called within this round only
        runs += 1
    assert sorted(done) == list(range(20))
    assert runs > 1


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_work_is_raised_as_it_is(workers: int) -> None:
    """While others wait for their turn."""

    def work(worker: int, thing: int, turn: Turn) -> None:
        with turn:
            if thing == 7:
                raise LookupError("seven")

    with pytest.raises(LookupError, match="seven"):
        Crew(iter(range(100)), work, workers).run()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_row_is_raised_as_it_is(workers: int) -> None:
    """What is taken off the row may be made on the way, and fail."""

    def things() -> Iterator[int]:
        yield 1
        raise LookupError("of the row")

    with pytest.raises(LookupError, match="of the row"):
        Crew(things(), lambda worker, thing, turn: None, workers).run()


def test_interrupts_wait_for_the_workers() -> None:
    """However many: nobody works any more when the caller has the interrupt."""
    working = set[int]()

    def work(worker: int, thing: int, turn: Turn) -> None:
        working.add(worker)
        try:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)
            with turn:
                pass
        finally:
            working.discard(worker)

    with pytest.raises(KeyboardInterrupt):
        Crew(iter(range(100)), work, 3).run()
    assert not working


def test_an_interrupt_ends_those_that_wait_for_their_turn_too() -> None:
    """The worker they wait for never takes its own: it ends without it, and they with it."""
    waiting = threading.Event()

    def work(worker: int, thing: int, turn: Turn) -> None:
        if thing == 0:
            waiting.wait(10)
            time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        else:
            waiting.set()
        with turn:
            pass

    with pytest.raises(KeyboardInterrupt):
        Crew(iter(range(100)), work, 2).run()


def test_a_worker_that_can_not_begin_ends_those_that_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a thread to spare: what was begun is finished, and the error is the caller's."""
    start = threading.Thread.start
    begun: list[threading.Thread] = []

    def refusing(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refusing)
    done: list[int] = []
    with pytest.raises(RuntimeError, match="can't start"):
        Crew(iter(range(10_000)), lambda worker, thing, turn: done.append(thing), 3).run()
    assert done == list(range(len(done)))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_thing_is_nobodys_but_its_workers(workers: int) -> None:
    """What a worker lets go of is gone: the memory of a large thing is free while it goes on, and for the next one."""

    class Thing:
        pass

    left: list[bool] = []

    def work(worker: int, thing: Thing, turn: Turn) -> None:
        there = weakref.ref(thing)
        del thing
        left.append(there() is not None)

    Crew((Thing() for _ in range(20)), work, workers).run()
    assert left == [False] * 20
