"""The process that computes attention: its answers, its failures, and that it never outlives who asked."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from llmos_server.contracts import ModelVersion
from llmos_server.engine.attention_client import AttentionReader
from llmos_server.engine.attention_worker import AttentionFound, AttentionJob, compute
from llmos_server.errors import EngineBusy, EngineFailed, InvalidRequest, UnsupportedModel

WAIT = 20.0
VERSION = ModelVersion(
    name="tiny", source="", digest="sha256:1", folder="/f", weights=["/w"], context_length=9, size_bytes=1, created=1
)
READ = "import json, sys, os, time; job = json.loads(sys.stdin.readline());"


def reader(script: str, seconds: float = WAIT) -> AttentionReader:
    return AttentionReader(seconds, (sys.executable, "-c", READ + script))


def answering(counter: Path) -> str:
    """Writes two heads of zeros and ones; notes each start."""
    head = msgspec.json.encode(AttentionFound(num_heads=2)).decode()
    return (
        f"open({str(counter)!r}, 'a').write(f'{{job[\"layer\"]}} ');"
        f"n = len(job['token_ids']) ** 2 * 4; sys.stdout.write({head!r} + chr(10)); sys.stdout.flush();"
        "sys.stdout.buffer.write(bytes(n) + b'\\0\\0\\x80\\x3f' * (n // 4))"
    )


async def wait_until_gone(pid: int) -> None:
    async with asyncio.timeout(WAIT):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)


async def test_the_numbers_come_back_and_the_last_ones_are_kept(tmp_path: Path) -> None:
    maps = reader(answering(tmp_path / "starts"))
    found = await maps.read(VERSION, [1, 2, 3], 4)
    assert found.dtype == np.float32
    assert found.tolist() == [[[0.0] * 3] * 3, [[1.0] * 3] * 3]
    assert await maps.read(VERSION, [1, 2, 3], 4) is found
    await maps.read(VERSION, [1, 2, 3], 5)
    await maps.read(VERSION, [1, 2], 5)
    await maps.read(msgspec.structs.replace(VERSION, digest="sha256:2"), [1, 2], 5)
    await maps.read(VERSION, [1, 2, 3], 4)
    assert (tmp_path / "starts").read_text() == "4 5 5 5 4 "


async def test_one_at_a_time(tmp_path: Path) -> None:
    busy = tmp_path / "busy"
    script = f"os.mkdir({str(busy)!r}); time.sleep(0.05); os.rmdir({str(busy)!r});" + answering(tmp_path / "starts")
    maps = reader(script)
    await asyncio.gather(*(maps.read(VERSION, [1], layer) for layer in range(3)))
    assert (tmp_path / "starts").read_text() == "0 1 2 "


async def test_why_it_cant_be_computed_is_told() -> None:
    told = msgspec.json.encode(AttentionFound(failure="layer: no.", param="layer")).decode()
    with pytest.raises(InvalidRequest, match=r"layer: no\.") as caught:
        await reader(f"print({told!r})").read(VERSION, [1], 0)
    assert caught.value.param == "layer"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("os._exit(3)", "status 3"),
        ("os.kill(os.getpid(), 9)", "status -9"),
        ("print('{\"num_heads\": 2}')", "status 0"),
        ("print('hello'); sys.stdout.flush(); time.sleep(600)", "something else"),
        ("print('x' * 100000); sys.stdout.flush(); time.sleep(600)", "something else"),
    ],
)
async def test_a_process_that_dies_or_talks_nonsense(script: str, told: str) -> None:
    with pytest.raises(EngineFailed, match=told):
        await asyncio.wait_for(reader(script).read(VERSION, [1, 2], 0), WAIT)


async def test_it_ends_when_its_time_is_up() -> None:
    with pytest.raises(EngineFailed, match=r"longer than 0\.1 s \(api.attention_seconds\)"):
        await reader("time.sleep(600)", seconds=0.1).read(VERSION, [1], 0)


@pytest.mark.parametrize("how", ["cancel", "stop"])
async def test_it_ends_with_who_asked_and_with_the_server(tmp_path: Path, how: str) -> None:
    file = tmp_path / "pid"
    script = f"open({str(file)!r} + '-', 'w').write(str(os.getpid())); os.rename({str(file)!r} + '-', {str(file)!r});"
    maps = reader(script + "time.sleep(600)")
    asked = asyncio.create_task(maps.read(VERSION, [1], 0))
    async with asyncio.timeout(WAIT):
        while not file.exists():
            await asyncio.sleep(0.01)
    if how == "cancel":
        asked.cancel()
    else:
        await maps.stop()
    with pytest.raises(asyncio.CancelledError if how == "cancel" else EngineBusy):
        await asyncio.wait_for(asked, WAIT)
    await wait_until_gone(int(file.read_text()))
    if how == "cancel":  # The next one has its turn.
        with pytest.raises(EngineFailed, match="longer"):
            await reader("time.sleep(600)", seconds=0.1).read(VERSION, [1], 0)


def job(version: ModelVersion, **changes: Any) -> AttentionJob:
    known = {name: getattr(version, name) for name in ("folder", "weights", "kind", "num_parameters")}
    return AttentionJob(**{**known, "token_ids": [1, 2, 3], "layer": 0, "threads": 1, **changes})


@pytest.mark.real_model
async def test_the_real_process(smollm2: ModelVersion) -> None:
    found = await AttentionReader(120.0).read(smollm2, [1, 2, 3], 2)
    assert found.tolist() == compute(job(smollm2, layer=2)).tolist()
    assert found.shape == (9, 3, 3)


@pytest.mark.real_model
def test_a_layer_that_there_isnt(smollm2: ModelVersion) -> None:
    with pytest.raises(InvalidRequest, match="layers 0 to 29, not 30") as caught:
        compute(job(smollm2, layer=30))
    assert caught.value.param == "layer"


@pytest.mark.real_model
def test_what_doesnt_fit_the_memory_is_refused_before_it_is_read(minilm: ModelVersion) -> None:
    with pytest.raises(UnsupportedModel, match="needs 4000000000000000 bytes"):
        compute(job(minilm, num_parameters=10**15))


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """Started by hand, with a job for which a child of its own is not needed: stdin closes, and it is gone."""
    fifo = tmp_path / "config.json"
    os.mkfifo(fifo)  # Reading the config waits for ever.
    argv = (sys.executable, "-P", "-m", "llmos_server.engine.attention_worker")
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    asked = job(VERSION, folder=str(tmp_path), weights=[], num_parameters=1)
    process.stdin.write(msgspec.json.encode(asked) + b"\n")
    process.stdin.close()
    assert process.stdout is not None
    assert process.stdout.read() == b""
    assert process.wait(60) == 0
    process.stdout.close()
