"""`stack.env` and the secrets of a data folder: made once, kept for the life of the folder.

What the settings mean is in `services.runtime.settings`; here is which of them a stack records.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from infra.local import external
from infra.local.errors import StackError
from services.runtime.settings import (
    IngestionSettings,
    KafkaSettings,
    PostgresSettings,
    ReaderSettings,
    StackSettings,
    home,
)

PORTS = {
    "kafka": "CIRCLES_STACK_KAFKA_PORT",
    "kafka-controller": "CIRCLES_STACK_KAFKA_CONTROLLER_PORT",
    "postgres": "CIRCLES_POSTGRES_PORT",
    "ingestion": "CIRCLES_INGESTION_PORT",
    "dagster": "CIRCLES_STACK_DAGSTER_PORT",
    "dagster-code": "CIRCLES_STACK_DAGSTER_CODE_PORT",
    "dagster-viewer": "CIRCLES_STACK_VIEWER_PORT",
}
"""What `circles up --port NAME=NUMBER` may name, and the setting that it changes."""

OPTIONAL = {"viewer": "CIRCLES_STACK_VIEWER"}
"""What `circles up --with NAME` may name, and the setting that it sets."""

_PASSWORDS = (
    "CIRCLES_KAFKA_PASSWORD",
    "CIRCLES_POSTGRES_PASSWORD",
    "CIRCLES_OPERATOR_PASSWORD",
    "CIRCLES_ANALYST_PASSWORD",
    "CIRCLES_STACK_KAFKA_INTERNAL_PASSWORD",
    "CIRCLES_STACK_POSTGRES_ADMIN_PASSWORD",
)

_RECORDED: tuple[tuple[type[BaseSettings], tuple[str, ...]], ...] = (
    (KafkaSettings, tuple(KafkaSettings.model_fields)),
    (PostgresSettings, tuple(PostgresSettings.model_fields)),
    (IngestionSettings, ("port",)),
    (ReaderSettings, tuple(ReaderSettings.model_fields)),
    (
        StackSettings,
        tuple(name for name in StackSettings.model_fields if name not in ("kafka_url", "postgres_url")),
    ),
)
"""Recorded so that a later command in a bare environment finds the same stack."""

_FORBIDDEN = set('%";,\\\n')
"""Signs that mean something in server.properties, in Java's argument file or in supervisord.conf."""

_HEADER = """\
# Written by `circles up`: where this stack listens, and its generated passwords. The environment wins.
# Whoever reads this file can read everything in the stack.
"""


def prepare_home() -> Path:
    """The data folder, made when missing, open to its owner alone. Raises StackError."""
    folder = home()
    if forbidden := sorted(set(str(folder)) & _FORBIDDEN):
        raise StackError(
            f"The data folder {folder} has the sign {forbidden[0]!r} in its path.",
            "Kafka and the supervisor cannot take it: choose another with CIRCLES_HOME=/other/folder.",
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for name in ("run", "logs", "secrets"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise StackError(
            f"The data folder {folder} cannot be used: {error.strerror}.",
            "Give this user the right to write there, or choose another with CIRCLES_HOME=/other/folder.",
        ) from error
    return folder


def record(ports: Mapping[str, int], in_use: Collection[str] = (), optional: Collection[str] = ()) -> None:
    """Writes `stack.env`: what it says already, then the environment, then `ports` by their short names, and
    which `optional` processes there are from now on.

    Passwords that are missing are generated; none is ever changed. Raises StackError when the port of a
    running process, whose name is in `in_use`, would change.
    """
    path = home() / "stack.env"
    # The URL of a server elsewhere has its port; `ports` are those of our own.
    overrides = {PORTS[name]: str(number) for name, number in ports.items()} | _from_urls()
    overrides |= {OPTIONAL[name]: "true" for name in optional}
    values = _read(path) or {"CIRCLES_DAGSTER_FIRST_DAY": datetime.now(UTC).date().isoformat()}
    values |= {name: secrets.token_urlsafe(24) for name in _PASSWORDS if name not in values}
    _write(path, values)  # once for the settings classes to read, with passwords
    changed = _current() | overrides
    _check_unchanged(values, changed, in_use)
    values |= changed
    if values["CIRCLES_STACK_KAFKA_EMBEDDED"] == "true":
        values["CIRCLES_KAFKA_BOOTSTRAP"] = f"127.0.0.1:{values['CIRCLES_STACK_KAFKA_PORT']}"
    _write(path, values)


def _check_unchanged(before: Mapping[str, str], after: Mapping[str, str], in_use: Collection[str]) -> None:
    for name in PORTS.keys() & set(in_use):
        old, new = before.get(PORTS[name]), after.get(PORTS[name])
        if old is not None and old != new:
            raise StackError(
                f"{name} runs on port {old}; it cannot move to {new} meanwhile.",
                "`circles down` first, then `circles up` with the new port.",
            )


def make_secrets() -> None:
    """The key of the pseudonyms and the key of the quarantine, each made once."""
    from cryptography.fernet import Fernet

    folder = home() / "secrets"
    makers: dict[str, Callable[[], bytes]] = {
        "pseudonym.key": lambda: secrets.token_bytes(32),
        "quarantine.key": Fernet.generate_key,
    }
    for name, make in makers.items():
        path = folder / name
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(make())


def ports() -> dict[str, int]:
    """Ports on this machine that the stack's own servers listen on, by short name."""
    stack, postgres, ingestion = StackSettings.load(), PostgresSettings.load(), IngestionSettings.load()
    numbers = {
        "ingestion": ingestion.port,
        "dagster": stack.dagster_port,
        "dagster-code": stack.dagster_code_port,
    }
    if stack.viewer:
        numbers["dagster-viewer"] = stack.viewer_port
    if stack.kafka_embedded:
        numbers |= {"kafka": stack.kafka_port, "kafka-controller": stack.kafka_controller_port}
    if stack.postgres_embedded:
        numbers["postgres"] = postgres.port
    return numbers


def _from_urls() -> dict[str, str]:
    stack = StackSettings.load()
    settings: dict[str, str] = {}
    if stack.kafka_url is not None:
        settings |= external.kafka_settings(stack.kafka_url.get_secret_value())
    if stack.postgres_url is not None:
        settings |= external.postgres_settings(stack.postgres_url.get_secret_value())
    return settings


def _current() -> dict[str, str]:
    values = {}
    for fragment, fields in _RECORDED:
        settings = fragment.load()  # type: ignore[attr-defined]
        prefix = fragment.model_config["env_prefix"]
        for field in fields:
            value = getattr(settings, field)
            if value is not None:
                values[f"{prefix}{field}".upper()] = _text(value)
    return values


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    return {name: value or "" for name, value in dotenv_values(path).items()} if path.exists() else {}


def _write(path: Path, values: Mapping[str, str]) -> None:
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    lines = [f"{name}={_quoted(value)}" for name, value in sorted(values.items())]
    temporary.write_text(_HEADER + "\n".join(lines) + "\n")
    temporary.replace(path)


def _quoted(value: str) -> str:
    """Single quotes only where needed: docker compose and a shell read the file as well."""
    if all(letter.isalnum() or letter in "-_.:,/" for letter in value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
