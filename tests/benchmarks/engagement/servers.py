"""The servers of one run: Kafka and PostgreSQL in a temporary folder, and the workers on them.

What the workers read is `records`'; everything is ended when the run ends.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from services.kafka.topics import topics
from services.runtime.settings import KafkaSettings, PostgresSettings
from tests.benchmarks.engagement import process
from tests.benchmarks.engagement.broker import Broker
from tests.benchmarks.engagement.peers import bare_faust
from tests.benchmarks.engagement.process import Worker
from tests.benchmarks.engagement.records import FOLDER, TOPIC
from tests.benchmarks.engagement.rows import FAUST, OURS, QUIX, QUIX_JSON
from tests.benchmarks.peer_environments import CannotInstall, python_of
from tests.stacks import SERVERS_ONLY, Stack, bare_environment

REPOSITORY = FOLDER.parents[2]
REQUIREMENTS = FOLDER / "peers" / "requirements.txt"
QUIX_HOME = FOLDER / ".build" / "quix"
OWNER = "services/engagement"
PROCESS = "engagement"
"""Also the name of its consumer group."""
LIVE = "live"


class CannotRun(Exception):
    """Something that the benchmark needs is not there. Its words are for a person."""


@dataclass(frozen=True)
class Reader:
    """A worker that reads a topic from its beginning, in a group of its own."""

    worker: Worker
    group: str
    topic: str


@dataclass
class Bench:
    """The stack, and the workers that run on it, one at a time."""

    stack: Stack
    folder: Path
    ending: ExitStack
    count_started: int = field(default=0)

    @cached_property
    def kafka(self) -> KafkaSettings:
        return self.stack.kafka()

    @cached_property
    def postgres(self) -> PostgresSettings:
        recorded = self.stack.recorded
        return PostgresSettings.model_validate(
            {
                "port": recorded("CIRCLES_POSTGRES_PORT"),
                "user": recorded("CIRCLES_POSTGRES_USER"),
                "password": recorded("CIRCLES_POSTGRES_PASSWORD"),
            }
        )

    @cached_property
    def broker(self) -> Broker:
        return Broker(self.kafka)

    @property
    def kafka_pid(self) -> int:
        pid = self.stack.pid("kafka")
        if pid is None:
            raise CannotRun("the stack's Kafka does not run any more")
        return pid

    def start(self, worker: str) -> Reader:
        """The worker on an empty topic, without anything that it remembers."""
        if worker == OURS:
            self.empty()
            return self.start_ours()
        self.count_started += 1
        group = f"benchmark-{worker}-{self.count_started}"
        self.broker.make(group, TOPIC.partitions)
        return Reader(self.run(group, self._peer(worker, group)), group, group)

    def start_ours(self) -> Reader:
        """Our worker, which goes on where it was."""
        command = [sys.executable, "-m", "services.engagement"]
        return Reader(self.run(PROCESS, command), PROCESS, TOPIC.name)

    def empty(self) -> None:
        """Makes our worker's topics anew, its input among them, and lets its group begin again."""
        written = [each.name for each in topics().values() if each.owner == OWNER]
        self.broker.forget(PROCESS)
        self.broker.forget(LIVE)
        self.broker.delete([TOPIC.name, *written])
        result = self.stack.circles("provision")
        if result.returncode != 0:
            raise CannotRun(f"circles provision failed:\n{result.stdout}{result.stderr}")

    def run(self, name: str, command: list[str], **environment: str) -> Worker:
        """Starts a process that is ended with the run, if not before."""
        everything = {**self.stack.environment, "CIRCLES_HOME": str(self.stack.home), **environment}
        worker = process.start(name, command, everything, REPOSITORY, self.folder / f"{name}.log")
        self.ending.callback(worker.stop)
        return worker

    def finish(self, reader: Reader) -> None:
        """Ends a peer, and removes what it wrote."""
        reader.worker.stop()
        if reader.group != PROCESS:
            self.broker.delete([each for each in self.broker.topics() if reader.group in each])
            shutil.rmtree(self.stack.home / reader.group, ignore_errors=True)

    def _peer(self, worker: str, group: str) -> list[str]:
        named = ["--group", group, "--topic", group]
        if worker == FAUST:
            return [
                sys.executable, "-m", bare_faust.__name__, *named, "--partitions", str(TOPIC.partitions),
            ]  # fmt: skip
        form = {QUIX: "envelope", QUIX_JSON: "json"}[worker]
        return [str(quix_python()), "-m", "tests.benchmarks.engagement.peers.quix", "--form", form, *named]


def quix_python() -> Path:
    try:
        return python_of("Quix Streams", REQUIREMENTS, QUIX_HOME)
    except CannotInstall as reason:
        raise process.WorkerFailed(str(reason)) from reason


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """A stack in a temporary folder, on free ports; ended, and its data removed, whatever happens."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that `finally` is reached
    with tempfile.TemporaryDirectory(prefix="circles-bench-") as folder, ExitStack() as ending:
        stack = Stack(Path(folder) / "home", bare_environment())
        ending.callback(stack.down)
        result = stack.up(*SERVERS_ONLY)
        if result.returncode != 0:
            raise CannotRun(f"circles up failed:\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}")
        yield Bench(stack, Path(folder), ending)


def commit() -> str:
    """What is measured."""
    command = ["git", "describe", "--always", "--dirty= with changes"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout.strip()
