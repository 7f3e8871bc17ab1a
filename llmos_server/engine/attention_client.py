"""The attention of a prompt, computed in a process of its own; torch-free."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from llmos_server.contracts import ModelVersion
from llmos_server.cores import num_usable_cores, thread_environment
from llmos_server.engine.attention_worker import AttentionFound, AttentionJob
from llmos_server.engine.fleet_member import shutting_down
from llmos_server.errors import EngineFailed, InvalidRequest

ARGV = (sys.executable, "-P", "-m", "llmos_server.engine.attention_worker")
IDLE_SECONDS = 60.0
"""How long the process of the last prompt waits for another layer: most of a first answer is the start of Python."""
LEFT_SECONDS = 1.0
"""How long it lives when nobody waits for its answer: who goes quickly from layer to layer leaves one for the next."""

Maps = npt.NDArray[np.float32]
Prompt = tuple[str, tuple[int, ...]]
"""A model's digest and token ids."""


class AttentionReader:
    """One process, for one prompt at a time; others wait. The server's own loop uses it."""

    def __init__(
        self,
        seconds: float,
        *,
        idle_seconds: float = IDLE_SECONDS,
        left_seconds: float = LEFT_SECONDS,
        argv: Sequence[str] = ARGV,
    ) -> None:
        """seconds: how long one answer may take."""
        self._seconds = seconds
        self._idle_seconds = idle_seconds
        self._left_seconds = left_seconds
        self._argv = argv
        self._turn = asyncio.Lock()
        self._running: AttentionProcess | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_stopped = False

    async def read(self, version: ModelVersion, token_ids: Sequence[int], layer: int) -> Maps:
        """float32 [heads, queries, keys] of one layer, from 0 on. Cancelling ends the process, unless somebody asks for
        the same prompt within LEFT_SECONDS.

        Raises InvalidRequest for a layer that there isn't and a model that can't be looked at, EngineFailed when it
        takes too long or its process dies, EngineBusy when the server stops.
        """
        async with self._turn:
            self._disarm()
            try:
                async with asyncio.timeout(self._seconds):
                    maps = await self._compute(version, token_ids, layer)
            except asyncio.CancelledError:
                self._arm(self._left_seconds)
                raise
            except TimeoutError:
                await self._end()
                raise EngineFailed(
                    f"The attention of {len(token_ids)} tokens in layer {layer} of {version.name} took longer than "
                    f"{self._seconds:g} s (api.attention_seconds). Take a lower layer or a shorter prompt."
                ) from None
            except Exception as error:
                await self._end()
                if self._is_stopped and isinstance(error, EngineFailed):
                    raise shutting_down() from None
                raise
            self._arm(self._idle_seconds)
            return maps

    async def stop(self) -> None:
        """At the server's end."""
        self._is_stopped = True
        self._disarm()
        await self._end()

    async def _compute(self, version: ModelVersion, token_ids: Sequence[int], layer: int) -> Maps:
        """By the process that runs, if it is this prompt's and still lives."""
        running = self._running
        if running is not None and running.prompt == (version.digest, tuple(token_ids)):
            with contextlib.suppress(EngineFailed):
                return await asyncio.shield(running.ask(layer))
        await self._end()
        if self._is_stopped:
            raise shutting_down()
        self._running = await AttentionProcess.start(self._argv, version, token_ids)
        return await asyncio.shield(self._running.ask(layer))

    async def _end(self) -> None:
        process, self._running = self._running, None
        if process is not None:
            await process.end()

    def _expire(self) -> None:
        """Nobody waits for it."""
        if self._running is not None:
            self._running.kill()
            self._running = None

    def _arm(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class AttentionProcess:
    """A started engine.attention_worker."""

    def __init__(self, process: asyncio.subprocess.Process, prompt: Prompt) -> None:
        self.prompt = prompt
        self._process = process
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, argv: Sequence[str], version: ModelVersion, token_ids: Sequence[int]) -> AttentionProcess:
        threads = max(num_usable_cores() // 2, 1)
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **thread_environment(threads)},
        )
        job = AttentionJob(
            folder=version.folder,
            weights=version.weights,
            kind=version.kind,
            token_ids=list(token_ids),
            num_parameters=version.num_parameters,
            threads=threads,
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        return cls(process, (version.digest, tuple(token_ids)))

    def ask(self, layer: int) -> asyncio.Task[Maps]:
        """It takes its turn, and reads its answer to the end whether somebody waits for it or not.

        Raises InvalidRequest in the process's words, EngineFailed.
        """
        task = asyncio.create_task(self._ask(layer))
        task.add_done_callback(_forget)
        return task

    async def _ask(self, layer: int) -> Maps:
        try:
            async with self._turn:
                return await self._exchange(layer)
        except (asyncio.IncompleteReadError, ConnectionError):
            status = await self._process.wait()
            raise EngineFailed(
                f"The process that computes attention ended (status {status}). The server's log tells why; status -9 "
                "is mostly a want of memory."
            ) from None
        except (asyncio.LimitOverrunError, msgspec.DecodeError):
            raise EngineFailed("The process that computes attention answered something else.") from None

    async def _exchange(self, layer: int) -> Maps:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(b"%d\n" % layer)
        await stdin.drain()
        found = msgspec.json.decode(await stdout.readuntil(b"\n"), type=AttentionFound)
        if found.failure:
            raise InvalidRequest(found.failure, param=found.param, code=found.code or "unsupported_value")
        _, token_ids = self.prompt
        num_tokens = len(token_ids)
        numbers = await stdout.readexactly(found.num_heads * num_tokens**2 * 4)
        return np.frombuffer(numbers, "<f4").astype(np.float32).reshape(found.num_heads, num_tokens, num_tokens)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Returns when it has ended."""
        self.kill()
        await self._process.wait()


def _forget(task: asyncio.Task[Maps]) -> None:
    """Its failure is told to who waits, if anybody does."""
    if not task.cancelled():
        task.exception()
