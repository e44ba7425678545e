"""The engagement worker under another name, with topics of its own to write to, and with faults on purpose:
`python -m tests.fakes.engagement_process NAME …`. It reads what the stack's worker reads.

`--crash POINT` ends it as by kill -9 in the middle of its `--flush`-th flush that writes something. With
`--identity random` no copy of an event is recognised as one, so that only the offsets in the state keep a
repeated record from counting twice; with `--forget-offsets` not even they do.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
from collections.abc import Iterable
from typing import Any

import services.engagement.reading
import services.engagement.state
import services.engagement.worker
from services.engagement.__main__ import main

# As untyped as whatever is patched.
reading: Any = services.engagement.reading
state: Any = services.engagement.state
worker: Any = services.engagement.worker

POINTS = ("half-state", "state", "figures")


def topics(name: str) -> list[str]:
    """Of state and of figures."""
    return [f"{name}-state", f"{name}-metrics"]


def run(arguments: argparse.Namespace) -> int:
    worker.SERVICE = arguments.name
    worker.STATE, worker.METRICS = topics(arguments.name)
    if arguments.crash:
        _crash(arguments.crash, arguments.flush)
    if arguments.identity == "random":
        reading.read = _without_identity(reading.read)
        worker.read = reading.read
    if arguments.forget_offsets:
        state.Restoring.finish = _without_offset(state.Restoring.finish)
    sys.argv = sys.argv[:1]
    return main()


def _crash(point: str, flush: int) -> None:
    """Patches the writing so that the process ends at `point`."""
    send_all, commit = worker.send_all, worker.commit
    written = {"flushes": 0}

    async def sending(producer: Any, topic: str, partition: int, records: Iterable[Any]) -> Any:
        records = list(records)
        if topic == worker.STATE and records:
            written["flushes"] += 1
        is_due = written["flushes"] >= flush and records
        if point == "half-state" and topic == worker.STATE and is_due:
            for future in await send_all(producer, topic, partition, records[: len(records) // 2]):
                await future
            _die()
        if point == "state" and topic == worker.METRICS and is_due:
            _die()
        return await send_all(producer, topic, partition, records)

    async def committing(*arguments: Any) -> None:
        if point == "figures" and written["flushes"] >= flush:
            _die()
        await commit(*arguments)

    worker.send_all, worker.commit = sending, committing


def _without_identity(read: Any) -> Any:
    def reading_of(records: Any) -> Any:
        told, unusable = read(records)
        told.events["event"] = [secrets.randbits(64) for _ in told.events]
        return told, unusable

    return reading_of


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _without_offset(finish: Any) -> Any:
    def finished(self: Any, withdrawn: Any) -> Any:
        self.group.restored_offset = -1
        return finish(self, withdrawn)

    return finished


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="engagement_process", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--crash", choices=POINTS)
    parser.add_argument("--flush", type=int, default=1)
    parser.add_argument("--identity", choices=["event", "random"], default="event")
    parser.add_argument("--forget-offsets", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(run(parsed(sys.argv[1:])))
