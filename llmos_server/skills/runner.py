"""Runs of skills: each in a thread and on an event loop of its own, so that one that blocks holds up itself alone."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

CANCEL_SECONDS = 2.0
"""How long a run that was cancelled has to end."""


class RunnersBusy(Exception):
    """As many runs as there may be."""


class RunTimedOut(Exception):
    """The run's time was up; it has ended."""


class RunBlocked(Exception):
    """The run's time was up, and it did not end when it was cancelled."""


class SkillRunner:
    """At most `max_runs` at a time; one that blocks counts until it returns."""

    def __init__(self, max_runs: int) -> None:
        self._max_runs = max_runs
        self.num_runs = 0

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
        """make: called in the run's thread. When this is cancelled, so is the run.

        Raises what the run does, RunnersBusy, RunTimedOut when it took longer than `seconds`, RunBlocked when it then
        went on all the same."""
        if self.num_runs >= self._max_runs:
            raise RunnersBusy
        self.num_runs += 1
        run = _Run(make)
        loop = asyncio.get_running_loop()
        run.ended.add_done_callback(lambda _: _call_soon(loop, self._leave))
        run.start()
        waiter = asyncio.wrap_future(run.ended)
        try:
            done, _ = await asyncio.wait({waiter}, timeout=seconds)
            if not done:
                run.cancel()
                done, _ = await asyncio.wait({waiter}, timeout=CANCEL_SECONDS)
                raise RunTimedOut if done else RunBlocked
            result: T = waiter.result()
            return result
        finally:
            run.cancel()
            _forget(waiter)

    def _leave(self) -> None:
        self.num_runs -= 1


class _Run(threading.Thread):
    def __init__(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        super().__init__(name="llmos-skill", daemon=True)
        self.ended: Future[Any] = Future()
        self.ended.set_running_or_notify_cancel()  # Whoever gives up waiting doesn't end it: the thread does.
        self._make = make
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False

    def run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                result = runner.run(self._main(), context=self._context)
        except asyncio.CancelledError:
            self.ended.set_exception(RunTimedOut())
        except Exception as error:
            self.ended.set_exception(error)
        except BaseException as error:
            self.ended.set_exception(RuntimeError(f"it raised {type(error).__name__}"))
        else:
            self.ended.set_result(result)

    async def _main(self) -> Any:
        with self._lock:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            if self._is_cancelled:
                raise asyncio.CancelledError
        return await self._make()

    def cancel(self) -> None:
        """Safe at any time, from any thread."""
        with self._lock:
            self._is_cancelled = True
            loop, task = self._loop, self._task
        if loop is not None and task is not None and not self.ended.done():
            _call_soon(loop, task.cancel)


def _call_soon(loop: asyncio.AbstractEventLoop, fn: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # The loop is closed: whoever cared is gone.
        loop.call_soon_threadsafe(fn)


def _forget(waiter: asyncio.Future[Any]) -> None:
    """Nobody asks for what comes later, or came and wasn't asked for."""
    if waiter.done() and not waiter.cancelled():
        waiter.exception()
    waiter.cancel()
