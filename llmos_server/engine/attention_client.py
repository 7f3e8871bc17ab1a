"""The attention of a prompt, computed in a process of its own that ends with it; torch-free."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from llmos_server.contracts import ModelVersion
from llmos_server.engine.attention_worker import AttentionFound, AttentionJob
from llmos_server.engine.fleet_member import shutting_down
from llmos_server.engine.launcher import num_usable_cores, thread_environment
from llmos_server.errors import EngineBusy, EngineFailed, InvalidRequest

ARGV = (sys.executable, "-P", "-m", "llmos_server.engine.attention_worker")
MAX_KEPT_BYTES = 32 * 2**20
"""The last answer is kept below that: who goes from head to head of one layer asks for the same each time."""

Maps = npt.NDArray[np.float32]


class _Kept(NamedTuple):
    """An answer and what it answers."""

    asked: tuple[str, int, tuple[int, ...]]
    maps: Maps


class AttentionReader:
    """One at a time; others wait. The server's own loop uses it."""

    def __init__(self, seconds: float, argv: Sequence[str] = ARGV) -> None:
        """seconds: how long one may take."""
        self._seconds = seconds
        self._argv = argv
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._is_stopped = False
        self._kept: _Kept | None = None

    async def read(self, version: ModelVersion, token_ids: Sequence[int], layer: int) -> Maps:
        """float32 [heads, queries, keys] of one layer, from 0 on. Cancelling ends the process.

        Raises InvalidRequest for a layer that there isn't and a model that can't be looked at, EngineFailed when it
        takes too long or its process dies.
        """
        asked = version.digest, layer, tuple(token_ids)
        async with self._turn:
            if self._kept is not None and self._kept.asked == asked:
                return self._kept.maps
            self._kept = None
            try:
                async with asyncio.timeout(self._seconds):
                    maps = await self._compute(version, token_ids, layer)
            except TimeoutError:
                raise EngineFailed(
                    f"The attention of {len(token_ids)} tokens in layer {layer} of {version.name} took longer than "
                    f"{self._seconds:g} s (api.attention_seconds). Take a lower layer or a shorter prompt."
                ) from None
            if maps.nbytes <= MAX_KEPT_BYTES:
                self._kept = _Kept(asked, maps)
            return maps

    async def stop(self) -> None:
        """At the server's end: what is being computed ends with EngineBusy."""
        self._is_stopped = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _compute(self, version: ModelVersion, token_ids: Sequence[int], layer: int) -> Maps:
        if self._is_stopped:
            raise shutting_down()
        threads = max(num_usable_cores() // 2, 1)
        job = AttentionJob(
            folder=version.folder,
            weights=version.weights,
            kind=version.kind,
            token_ids=list(token_ids),
            layer=layer,
            num_parameters=version.num_parameters,
            threads=threads,
        )
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **thread_environment(threads)},
        )
        self._process = process
        try:
            return await self._exchange(process, job)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise await self._died(process) from None
        except (asyncio.LimitOverrunError, msgspec.DecodeError):
            raise EngineFailed("The process that computes attention answered something else.") from None
        finally:
            self._process = None
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _exchange(self, process: asyncio.subprocess.Process, job: AttentionJob) -> Maps:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        await process.stdin.drain()
        found = msgspec.json.decode(await process.stdout.readuntil(b"\n"), type=AttentionFound)
        if found.failure:
            raise InvalidRequest(found.failure, param=found.param, code=found.code or "unsupported_value")
        num_tokens = len(job.token_ids)
        numbers = await process.stdout.readexactly(found.num_heads * num_tokens**2 * 4)
        return np.frombuffer(numbers, "<f4").astype(np.float32).reshape(found.num_heads, num_tokens, num_tokens)

    async def _died(self, process: asyncio.subprocess.Process) -> EngineBusy | EngineFailed:
        if self._is_stopped:
            return shutting_down()
        status = await process.wait()
        return EngineFailed(
            f"The process that computes attention ended (status {status}). The server's log tells why; status -9 is "
            "mostly a want of memory."
        )
