"""Engagement workers of a test's own, on the session's Kafka: started, killed, stopped and woken at will.

What they write goes to topics of their own; what they show is read from there as `services.live` would.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from circles.engagement.v1.group_engagement_pb2 import GroupEngagement
from kafka import OffsetAndMetadata, TopicPartition
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError

from services.engagement.worker import INPUT, METRICS, STATE
from services.kafka.client import admin, consumer
from services.kafka.topics import topics as registry
from services.runtime.settings import KafkaSettings
from tests.fakes.engagement_memory import shown_of
from tests.fakes.engagement_process import topics
from tests.live_figures import Shown
from tests.partners import Partner, end_offsets
from tests.stacks import Stack, wait_until

CAUGHT_UP_SECONDS = 300
"""A worker that hangs after a rebalance ends itself after a minute, and the next one needs some seconds."""


@dataclass
class Workers:
    """Workers of one group, by the order of their start."""

    stack: Stack
    folder: Path
    name: str = field(default_factory=lambda: f"workers-{uuid.uuid4().hex[:8]}")
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _newest: Callable[[], object] = field(init=False)

    def start(self, *options: str, **settings: str) -> subprocess.Popen[bytes]:
        """`settings` without their prefix, as `stall_seconds`."""
        if self.running and self._have_all_ended():
            self._forget_the_dead()
        self._newest = partial(self.start, *options, **settings)
        extra = {f"CIRCLES_ENGAGEMENT_{name.upper()}": value for name, value in settings.items()}
        with self._log_file(len(self.running)).open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.engagement_process", self.name, *options],
                env={**self.stack.environment, "CIRCLES_HOME": str(self.stack.home), **extra},
                stdout=log,
                stderr=log,
            )
        self.running.append(worker)
        return worker

    def kill(self, worker: subprocess.Popen[bytes], number: signal.Signals = signal.SIGKILL) -> None:
        worker.send_signal(number)
        worker.wait(timeout=60)

    def rewind(self) -> None:
        """The workers that come next begin again at the beginning of the input. None may run."""
        offsets = {TopicPartition(INPUT, each): OffsetAndMetadata(0, "", -1) for each in end_offsets(INPUT)}
        with closing(admin(KafkaSettings.load())) as client:
            wait_until(lambda: not client.describe_groups([self.name])[self.name]["members"], "no member")
            client.alter_group_offsets(self.name, offsets)

    def empty_the_state(self) -> None:
        with closing(admin(KafkaSettings.load())) as client:
            client.delete_topics([topics(self.name)[0]])
        wait_until(self._made_again, "a new state topic")

    def _have_all_ended(self) -> bool:
        return all(worker.poll() is not None for worker in self.running)

    def _log_file(self, number: int) -> Path:
        return self.folder / f"{self.name}-{number}.log"

    def _forget_the_dead(self) -> None:
        """Kafka would keep the partitions for those who were killed, for ten seconds."""
        with closing(admin(KafkaSettings.load())) as client:
            members = client.describe_groups([self.name])[self.name]["members"]
            if members:
                client.remove_group_members(
                    self.name, [MemberToRemove(each["member_id"]) for each in members]
                )

    def _made_again(self) -> bool:
        """Kafka needs a moment to forget the topic of the same name."""
        with contextlib.suppress(KafkaError):
            make_topics(self.name)
            return True
        return False

    def wait_until_caught_up(self) -> None:
        """Everything that is on the input is committed by these workers.

        When all have ended, the newest is started again, as the stack's supervisor does: a worker ends itself
        rather than going on in doubt.
        """
        end = time.monotonic() + CAUGHT_UP_SECONDS
        while not self._has_caught_up():
            if time.monotonic() > end:
                logs = (self._log_file(number).read_text() for number in range(len(self.running)))
                raise AssertionError("\n---\n".join(("not caught up; what the workers said:", *logs)))
            if self._have_all_ended():
                self._newest()
            time.sleep(0.2)

    def figures(self, partner: Partner) -> Shown:
        """Of each group the figures of the highest offset, as the live view keeps them."""
        newest: dict[str, GroupEngagement] = {}
        with closing(
            consumer(KafkaSettings.load(), auto_offset_reset="earliest", consumer_timeout_ms=2000)
        ) as reader:
            reader.subscribe([topics(self.name)[1]])
            for record in reader:
                each = GroupEngagement.FromString(record.value)
                known = newest.get(each.group_id)
                if each.tenant_id == partner.tenant_id and (
                    known is None or known.applied_offset <= each.applied_offset
                ):
                    newest[each.group_id] = each
        return {group: shown_of(each) for group, each in newest.items()}

    def end(self) -> None:
        for worker in self.running:
            if worker.poll() is None:
                os.kill(worker.pid, signal.SIGCONT)
                worker.kill()
                worker.wait(timeout=30)

    def _has_caught_up(self) -> bool:
        with closing(admin(KafkaSettings.load())) as client:
            offsets = client.list_group_offsets(self.name)
        committed = offsets.get(self.name, offsets)
        reached = {place.partition: at.offset for place, at in committed.items() if place.topic == INPUT}
        return all(reached.get(partition, 0) >= end for partition, end in end_offsets(INPUT).items())


@contextmanager
def engagement_workers(stack: Stack, folder: Path) -> Iterator[Workers]:
    """None runs yet; all that do are ended at last."""
    workers = Workers(stack, folder)
    make_topics(workers.name)
    try:
        yield workers
    finally:
        workers.end()


def make_topics(name: str) -> None:
    """What the workers of that name write to, unless it is there."""
    with closing(admin(KafkaSettings.load())) as client:
        present = set(client.list_topics())
        wanted = {
            topic: {"num_partitions": registry()[like].partitions, "configs": dict(registry()[like].config)}
            for topic, like in zip(topics(name), (STATE, METRICS), strict=True)
            if topic not in present
        }
        if wanted:
            client.create_topics(wanted, wait_for_metadata=True)
