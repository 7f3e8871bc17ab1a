"""The process that computes attention: its answers, its failures, and that it never outlives who asked."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from llmos_server.contracts import ModelVersion
from llmos_server.engine.attention_client import AttentionReader
from llmos_server.engine.attention_worker import AttentionFound, AttentionJob, KeptMaps, open_maps
from llmos_server.errors import EngineBusy, EngineFailed, InvalidRequest, UnsupportedModel

WAIT = 20.0
VERSION = ModelVersion(
    name="tiny", source="", digest="sha256:1", folder="/f", weights=["/w"], context_length=9, size_bytes=1, created=1
)
READ = "import json, sys, os, time; job = json.loads(sys.stdin.readline());"


def reader(script: str, seconds: float = WAIT, **options: float) -> AttentionReader:
    return AttentionReader(seconds, argv=(sys.executable, "-c", READ + script), **options)


def answering(notes: Path) -> str:
    """Notes its process and each layer that it is asked for; writes two heads, of zeros and of ones."""
    head = msgspec.json.encode(AttentionFound(num_heads=2)).decode()
    return f"""
n = len(job["token_ids"]) ** 2 * 4
for layer in sys.stdin:
    print(os.getpid(), layer.strip(), file=open({str(notes)!r}, "a"))
    sys.stdout.buffer.write({head!r}.encode() + b"\\n" + bytes(n) + b"\\0\\0\\x80\\x3f" * (n // 4))
    sys.stdout.flush()
"""


def noted(notes: Path) -> tuple[list[int], list[int]]:
    """Processes, each once, and layers."""
    lines = [line.split() for line in notes.read_text().splitlines()]
    return list(dict.fromkeys(int(pid) for pid, _ in lines)), [int(layer) for _, layer in lines]


async def wait_until_gone(pid: int) -> None:
    async with asyncio.timeout(WAIT):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)


async def test_one_process_answers_for_all_layers_of_a_prompt(tmp_path: Path) -> None:
    maps = reader(answering(tmp_path / "notes"))
    found = await maps.read(VERSION, [1, 2, 3], 4)
    assert found.dtype == np.float32
    assert found.tolist() == [[[0.0] * 3] * 3, [[1.0] * 3] * 3]
    await asyncio.gather(*(maps.read(VERSION, [1, 2, 3], layer) for layer in (5, 0)))
    pids, layers = noted(tmp_path / "notes")
    assert (len(pids), layers) == (1, [4, 5, 0])
    await maps.read(VERSION, [1, 2], 0)
    await wait_until_gone(pids[0])
    await maps.read(msgspec.structs.replace(VERSION, digest="sha256:2"), [1, 2], 0)
    assert len(noted(tmp_path / "notes")[0]) == 3
    await maps.stop()
    await wait_until_gone(noted(tmp_path / "notes")[0][2])
    with pytest.raises(EngineBusy):
        await maps.read(VERSION, [1, 2], 0)


async def test_a_process_that_nobody_asks_ends_and_is_started_again(tmp_path: Path) -> None:
    maps = reader(answering(tmp_path / "notes"), idle_seconds=0.01)
    await maps.read(VERSION, [1], 0)
    await wait_until_gone(noted(tmp_path / "notes")[0][0])
    await maps.read(VERSION, [1], 0)
    assert len(noted(tmp_path / "notes")[0]) == 2
    await maps.stop()


async def test_one_that_died_meanwhile_is_started_again(tmp_path: Path) -> None:
    maps = reader(answering(tmp_path / "notes"))
    await maps.read(VERSION, [1], 0)
    [pid] = noted(tmp_path / "notes")[0]
    os.kill(pid, 9)
    await wait_until_gone(pid)
    await maps.read(VERSION, [1], 0)
    assert len(noted(tmp_path / "notes")[0]) == 2
    await maps.stop()


async def test_who_asks_soon_behind_one_that_left_gets_the_same_process(tmp_path: Path) -> None:
    """And its own answer, not that of the one before."""
    gate = tmp_path / "gate"
    head = msgspec.json.encode(AttentionFound(num_heads=1)).decode()
    maps = reader(
        f"""
import struct
for layer in sys.stdin:
    print(os.getpid(), layer.strip(), file=open({str(tmp_path / "notes")!r}, "a"), flush=True)
    while not os.path.exists({str(gate)!r}):
        time.sleep(0.005)
    sys.stdout.buffer.write({head!r}.encode() + b"\\n" + struct.pack("<f", float(layer)))
    sys.stdout.flush()
""",
        left_seconds=WAIT,
    )
    for layer in (1, 2):
        asked = asyncio.create_task(maps.read(VERSION, [7], layer))
        async with asyncio.timeout(WAIT):
            while not (tmp_path / "notes").exists():
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        asked.cancel()
    asked = asyncio.create_task(maps.read(VERSION, [7], 3))
    await asyncio.sleep(0.05)
    gate.touch()
    assert (await asyncio.wait_for(asked, WAIT)).tolist() == [[[3.0]]]
    pids, layers = noted(tmp_path / "notes")
    assert (len(pids), layers) == (1, [1, 2, 3])
    await maps.stop()


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
    maps = reader(script + "time.sleep(600)", left_seconds=0.01)
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
    return AttentionJob(**{**known, "token_ids": [1, 2, 3], "threads": 1, **changes})


@pytest.mark.real_model
async def test_the_real_process(smollm2: ModelVersion) -> None:
    maps = AttentionReader(120.0)
    expected = list(open_maps(job(smollm2)))
    for layer in (2, 0, 29):
        found = await maps.read(smollm2, [1, 2, 3], layer)
        assert found.tolist() == expected[layer].tolist()
        assert found.shape == (9, 3, 3)
    with pytest.raises(InvalidRequest, match="layers 0 to 29, not 30") as caught:
        await maps.read(smollm2, [1, 2, 3], 30)
    assert caught.value.param == "layer"


@pytest.mark.real_model
def test_what_doesnt_fit_the_memory_is_refused_before_it_is_read(minilm: ModelVersion) -> None:
    with pytest.raises(UnsupportedModel, match="needs 4000000000000000 bytes"):
        open_maps(job(minilm, num_parameters=10**15))


def test_layers_are_kept_within_bounds_and_computed_anew_beyond() -> None:
    computed: list[int] = []

    def create() -> Iterator[torch.Tensor]:
        for layer in range(4):
            computed.append(layer)
            yield torch.full((1, 2, 2), layer, dtype=torch.float32)

    maps = KeptMaps(create, max_bytes=2 * 16)
    for layer in (2, 1, 2, 3, 2):
        assert maps.get(layer)[0, 0, 0] == layer
    assert computed == [0, 1, 2, 3]
    assert maps.get(0)[0, 0, 0] == 0
    assert computed == [0, 1, 2, 3, 0]
    with pytest.raises(InvalidRequest, match="layers 0 to 3, not 4"):
        maps.get(4)


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")  # Reading the config waits for ever.
    argv = (sys.executable, "-P", "-m", "llmos_server.engine.attention_worker")
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    asked = job(VERSION, folder=str(tmp_path), weights=[], num_parameters=1)
    process.stdin.write(msgspec.json.encode(asked) + b"\n0\n")
    process.stdin.close()
    assert process.stdout.read() == b""
    assert process.wait(60) == 0
    process.stdout.close()
