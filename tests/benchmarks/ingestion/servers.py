"""The servers of one run: a stack of its own with our gateway, and the peers on the same broker.

What is sent to them is `rows` and `events`; everything is ended when the run ends.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psutil

from services.kafka.client import admin
from services.runtime.settings import KafkaSettings
from tests.benchmarks.ingestion import bare, guards_off, load
from tests.benchmarks.ingestion.events import write_requests
from tests.benchmarks.ingestion.gateway import LIFT_LIMITS, filled_in
from tests.benchmarks.ingestion.golang import FOLDER, CannotRun, build
from tests.benchmarks.ingestion.rows import COLLECTOR, CONFLUENT, GATEWAY, GUARDS_OFF, KAFKA_PYTHON, Row
from tests.stacks import SERVERS_ONLY, Stack, bare_environment, free_ports, is_open, wait_until

REPOSITORY = FOLDER.parents[2]
TENANT = "bench"
OTLP_METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
OUR_METHODS = {
    "unary": f"/{bare.SERVICE}/{bare.METHOD}",
    "streaming": f"/{bare.SERVICE}/StreamParticipationEvents",
}
PARTITIONS = 8
"""As many as our own topic of these events has."""


@dataclass(frozen=True)
class Server:
    """A running server, and how it is spoken to."""

    port: int
    pid: int
    answer: str
    authorization: str = ""

    @property
    def pids(self) -> list[int]:
        process = psutil.Process(self.pid)
        return [process.pid, *(child.pid for child in process.children(recursive=True))]


@dataclass
class Bench:
    """The stack, the generator, and the servers that have been started."""

    stack: Stack
    folder: Path
    generator: Path
    ending: ExitStack
    servers: dict[str, Server] = field(default_factory=dict)
    event_bytes: dict[str, float] = field(default_factory=dict)
    """By encoding; at the largest batch measured."""

    def start(self, name: str) -> None:
        starters: dict[str, Callable[[], Server]] = {
            GATEWAY: self._gateway,
            GUARDS_OFF: self._guards_off,
            COLLECTOR: self._collector,
            KAFKA_PYTHON: lambda: self._bare("kafka-python"),
            CONFLUENT: lambda: self._bare("confluent-kafka"),
        }
        self.servers[name] = starters[name]()

    def measure(self, row: Row, seconds: float) -> load.Figures:
        return load.finish(load.start(self.generator, self.plan(row, seconds)))

    def plan(self, row: Row, seconds: float) -> load.Plan:
        server = self.servers[row.server]
        return load.Plan(
            target=f"127.0.0.1:{server.port}",
            method=OTLP_METHOD if row.server == COLLECTOR else OUR_METHODS[row.way],
            requests_file=str(self._requests("otlp" if row.server == COLLECTOR else row.way, row.batch)),
            answer=server.answer,
            streaming=row.way == "streaming",
            in_flight=row.in_flight,
            seconds=seconds,
            authorization=server.authorization,
            server_pids=server.pids,
            broker_pids=[self._pid("kafka")],
        )

    def key(self, tenant: str) -> str:
        """A new API key, as the header that carries it."""
        made = self.circles("keys", "add", tenant, "--data-class", "synthetic")
        return f"Bearer {made.strip()}"

    def circles(self, *arguments: str) -> str:
        result = self.stack.circles(*arguments)
        if result.returncode != 0:
            raise CannotRun(f"circles {' '.join(arguments)} failed:\n{result.stdout}{result.stderr}")
        return result.stdout

    @cached_property
    def kafka(self) -> KafkaSettings:
        return self.stack.kafka()

    @cached_property
    def _authorization(self) -> str:
        """Of a tenant that may post as much as it can."""
        authorization = self.key(TENANT)
        self.circles(*filled_in(LIFT_LIMITS, tenant=TENANT))
        return authorization

    def _requests(self, encoding: str, batch: int) -> Path:
        path = self.folder / f"{encoding}-{batch}.json"
        if not path.exists():
            self.event_bytes[encoding] = write_requests(path, encoding, batch)
        return path

    def _gateway(self) -> Server:
        return Server(self.stack.ports["ingestion"], self._pid("ingestion"), "circles", self._authorization)

    def _guards_off(self) -> Server:
        port = free_ports()["ingestion"]
        environment = {"CIRCLES_INGESTION_PORT": str(port)}
        command = [sys.executable, "-m", guards_off.__name__]
        return Server(port, self._run(GUARDS_OFF, command, environment, port), "circles", self._authorization)

    def _collector(self) -> Server:
        port, kafka = free_ports()["ingestion"], self.kafka
        environment = {
            "BENCH_ENDPOINT": f"127.0.0.1:{port}",
            "BENCH_BROKER": kafka.bootstrap,
            "BENCH_SASL_MECHANISM": kafka.sasl_mechanism,
            "BENCH_SASL_USERNAME": kafka.username,
            "BENCH_SASL_PASSWORD": kafka.password.get_secret_value(),
            "BENCH_TOPIC": self._topic(COLLECTOR),
        }
        command = [str(build("collector")), "--config", str(FOLDER / "collector" / "config.yaml")]
        return Server(port, self._run(COLLECTOR, command, environment, port), "otlp")

    def _bare(self, library: str) -> Server:
        name, port = f"bare-{library}", free_ports()["ingestion"]
        options = ("--library", library, "--port", str(port), "--topic", self._topic(name))
        command = [sys.executable, "-m", bare.__name__, *options]
        return Server(port, self._run(name, command, {}, port), "empty")

    def _topic(self, name: str) -> str:
        topic = f"benchmark-{name}"
        with contextlib.closing(admin(self.kafka)) as client:
            wanted = {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": {}}
            client.create_topics({topic: wanted}, wait_for_metadata=True)
        return topic

    def _run(self, name: str, command: Sequence[str], environment: Mapping[str, str], port: int) -> int:
        """Starts a process that is ended with the run. Returns its id when its port is open."""
        log = self.folder / f"{name}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**self.stack.environment, "CIRCLES_HOME": str(self.stack.home), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.ending.callback(_end, process)
        wait_until(lambda: process.poll() is not None or is_open(port), f"{name} on its port")
        if process.poll() is not None:
            raise CannotRun(f"{name} ended as soon as it was started:\n{log.read_text()[-2000:]}")
        return process.pid

    def _pid(self, name: str) -> int:
        pid = self.stack.pid(name)
        if pid is None:
            raise CannotRun(f"{name} of the stack does not run any more")
        return pid


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """A stack in a temporary folder, on free ports; ended, and its data removed, whatever happens."""
    generator = build("load")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that `finally` is reached
    with tempfile.TemporaryDirectory(prefix="circles-bench-") as folder, ExitStack() as ending:
        stack = Stack(Path(folder) / "home", bare_environment())
        ending.callback(stack.down)
        options = [each for each in SERVERS_ONLY if each != "--without=ingestion"]
        result = stack.up(*options)
        if result.returncode != 0:
            raise CannotRun(f"circles up failed:\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}")
        yield Bench(stack, Path(folder), generator, ending)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
