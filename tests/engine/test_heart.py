from __future__ import annotations

import queue

import msgspec

from llmos_server.engine.heart import Heart
from llmos_server.engine.messages import Heartbeat


class Wire:
    def __init__(self) -> None:
        self.sent: queue.Queue[Heartbeat] = queue.Queue()
        self.is_closed = False

    def send(self, data: bytes) -> None:
        self.sent.put(msgspec.msgpack.decode(data, type=Heartbeat))

    def close(self) -> None:
        self.is_closed = True


def test_a_beat_tells_how_long_the_present_step_has_been_running() -> None:
    wire = Wire()
    heart = Heart(3, 0.01, lambda: wire)
    heart.start()
    try:
        assert wire.sent.get(timeout=20) == Heartbeat(epoch=3)
        with heart.step():
            lengths = [wire.sent.get(timeout=20).step_seconds for _ in range(5)]
            assert lengths == sorted(lengths)
            assert lengths[-1] >= 0.03
        with heart.step():
            while wire.sent.get(timeout=20).step_seconds:  # Another step begins anew.
                pass
        while wire.sent.get(timeout=20).step_seconds:
            pass
        assert wire.sent.get(timeout=20).step_seconds == 0
    finally:
        heart.stop()
    assert wire.is_closed


def test_many_short_steps_are_not_one_long_one() -> None:
    wire = Wire()
    heart = Heart(3, 0.005, lambda: wire)
    heart.start()
    try:
        beats: list[Heartbeat] = []
        while len(beats) < 10:
            with heart.step():
                pass
            while not wire.sent.empty():
                beats.append(wire.sent.get())
        assert {beat.step_seconds for beat in beats} == {0.0}
    finally:
        heart.stop()
