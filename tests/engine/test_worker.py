"""The worker as a process, without the client: what it does when its parent ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import engine_fakes
import msgspec
import pytest
import zmq
from engine_fakes import expected_choice, make_request

from llmos_server.engine.messages import AddRequest, LoadFailed, Ready, Report, Shutdown, StepOutput, WorkerConfig

TIMEOUT_MS = 30_000


class Parent:
    """Holds one worker by its pipe and speaks to it over bare sockets."""

    def __init__(self, folder: Path, model_digest: str) -> None:
        self._context = zmq.Context()
        self.commands, self.reports = self._context.socket(zmq.PUSH), self._context.socket(zmq.PULL)
        self.config = WorkerConfig(
            epoch=3, commands_endpoint=f"ipc://{folder}/c", reports_endpoint=f"ipc://{folder}/r",
            model_digest=model_digest, model_folder="", weights=[], device="cpu", threads=1, page_size=4,
            cache_bytes=64, max_num_seqs=4, max_num_batched_tokens=32, prefix_caching=True, heartbeat_seconds=0.05,
        )  # fmt: skip
        self.commands.bind(self.config.commands_endpoint)
        self.reports.bind(self.config.reports_endpoint)
        self.worker = subprocess.Popen([sys.executable, engine_fakes.__file__], stdin=subprocess.PIPE)
        assert self.worker.stdin is not None
        self.worker.stdin.write(msgspec.json.encode(self.config) + b"\n")
        self.worker.stdin.flush()

    def send(self, command: AddRequest | Shutdown) -> None:
        self.commands.send(msgspec.msgpack.encode(command))

    def receive(self, kind: type) -> Report:
        while self.reports.poll(TIMEOUT_MS):
            report = msgspec.msgpack.decode(self.reports.recv(), type=Report)
            if isinstance(report, kind):
                return report
        raise AssertionError(f"no {kind.__name__} arrived")

    def close(self) -> None:
        self.worker.kill()
        self.worker.wait()
        assert self.worker.stdin is not None
        self.worker.stdin.close()
        self._context.destroy(linger=0)


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    parents: list[Parent] = []

    def start_worker(model_digest: str = "sha256:0") -> Parent:
        parents.append(Parent(tmp_path_factory.mktemp("w"), model_digest))
        return parents[-1]

    yield start_worker
    for parent in parents:
        parent.close()


def test_worker_ends_with_its_parents_pipe(start) -> None:
    parent = start()
    parent.receive(Ready)
    parent.send(AddRequest(epoch=3, request=make_request("a", [1], max_tokens=200)))
    parent.receive(StepOutput)
    parent.worker.stdin.close()
    assert parent.worker.wait(30) == 0


def test_idle_worker_ends_with_its_parents_pipe(start) -> None:
    parent = start()
    parent.receive(Ready)
    parent.worker.stdin.close()
    assert parent.worker.wait(30) == 0


def test_one_report_a_step_then_shutdown(start) -> None:
    parent = start()
    parent.receive(Ready)
    request = make_request("a", [1, 2, 3], max_tokens=5)
    parent.send(AddRequest(epoch=3, request=request))
    steps = [parent.receive(StepOutput) for _ in range(5)]
    assert [token for step in steps for delta in step.deltas for token in delta.token_ids] == expected_choice(
        request, 0
    ).token_ids
    assert [step.stats.num_steps for step in steps] == [1, 2, 3, 4, 5]
    assert steps[-1].stats.num_free_pages == steps[-1].stats.num_pages == 64
    parent.send(Shutdown(epoch=3))
    assert parent.worker.wait(30) == 0


def test_commands_of_another_epoch_are_dropped(start) -> None:
    parent = start()
    parent.receive(Ready)
    parent.send(Shutdown(epoch=2))
    parent.send(AddRequest(epoch=2, request=make_request("late", [1])))
    parent.send(AddRequest(epoch=3, request=make_request("mine", [1], max_tokens=1)))
    step = parent.receive(StepOutput)
    assert [delta.request_id for delta in step.deltas] == ["mine"]


def test_failed_load_is_reported_and_waits_for_its_end(start) -> None:
    parent = start("unsupported")
    assert "choose another" in parent.receive(LoadFailed).message
    parent.send(Shutdown(epoch=3))
    assert parent.worker.wait(30) == 0


def test_torch_free_parts_import_no_torch() -> None:
    code = (
        "import sys, llmos_server.engine.client, llmos_server.engine.worker;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
