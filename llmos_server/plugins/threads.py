"""Other people's synchronous code in daemon threads, each call with a deadline."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

IDLE_SECONDS = 60.0


class CallEnded(Exception):
    """The code raised what ends a program (SystemExit, KeyboardInterrupt); in a thread it is an error like others."""


class Threads:
    """At most `max_threads`, started when they are needed. A call that outlives its deadline keeps its thread until it
    returns, which nobody waits for; the others go on. Threads are daemons, so none of them keeps the process alive."""

    def __init__(self, name: str, max_threads: int) -> None:
        self._name = name
        self._max_threads = max_threads
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._num_threads = 0
        self._num_free = 0
        """Threads that wait for a job, less the jobs that wait for them."""
        self._num_lost = 0
        """Threads whose call was given up."""

    @property
    def is_exhausted(self) -> bool:
        """Half of the threads work on what nobody waits for any more."""
        return 2 * self._num_lost >= self._max_threads

    async def call(self, fn: Callable[[], T], seconds: float) -> T:
        """Raises what fn does, and TimeoutError; then fn may still run."""
        future = self._submit(fn)
        waiter = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait({waiter}, timeout=seconds)
            if not done:
                raise TimeoutError
            return waiter.result()
        finally:
            self._give_up(future)  # At once; the waiter would pass it on only in the loop's next turn.
            waiter.cancel()

    def call_and_wait(self, fn: Callable[[], T], seconds: float) -> T:
        """The same for callers without an event loop."""
        future = self._submit(fn)
        try:
            return future.result(seconds)
        finally:
            self._give_up(future)

    def _give_up(self, future: Future[Any]) -> None:
        """A call that has not begun never will; one that has keeps its thread, which is counted until it returns."""
        if future.done() or future.cancel():
            return
        with self._lock:
            self._num_lost += 1
        future.add_done_callback(self._found_again)

    def _found_again(self, _: Future[Any]) -> None:
        with self._lock:
            self._num_lost -= 1

    def _submit(self, fn: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        context = contextvars.copy_context()
        with self._lock:
            self._jobs.put((future, lambda: context.run(fn)))
            self._num_free -= 1
            if self._num_free < 0 and self._num_threads < self._max_threads:
                self._num_threads += 1
                self._num_free += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            try:
                future, fn = self._jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._jobs.empty():
                        self._num_threads -= 1
                        self._num_free -= 1
                        return
                continue
            if future.set_running_or_notify_cancel():
                _run(future, fn)
            with self._lock:
                self._num_free += 1


def _run(future: Future[Any], fn: Callable[[], Any]) -> None:
    try:
        result = fn()
    except Exception as error:
        future.set_exception(error)
    except BaseException as error:
        future.set_exception(CallEnded(type(error).__name__))
    else:
        future.set_result(result)
