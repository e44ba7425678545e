"""The topic registry, read from `protos/topics/*.yaml`. A topic's name is written nowhere else.

What a topic's messages mean stands in its proto; how they are sent and read in the services.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

MAX_ENVELOPE_EVENTS = 500
"""An envelope with more was not written by our gateway."""

REGISTRY = Path(__file__).parents[2] / "protos" / "topics"


@dataclass(frozen=True)
class Topic:
    """One topic. Event topics carry envelopes of events; the others carry single messages."""

    name: str
    description: str
    owner: str
    message_name: str
    event_name: str | None
    partitioned_by: tuple[str, ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    raw_table: str | None
    partitions: int
    config: Mapping[str, str]

    @property
    def is_event_topic(self) -> bool:
        return self.event_name is not None

    @property
    def message_class(self) -> type[Message]:
        """Class of a record's value."""
        return GetMessageClass(self.message)

    @property
    def message(self) -> Descriptor:
        """Descriptor of a record's value."""
        return descriptor(self.message_name)

    @property
    def event(self) -> Descriptor:
        """Descriptor of one event. Raises ValueError for a topic that carries no events."""
        if self.event_name is None:
            raise ValueError(f"{self.name} carries no events")
        return descriptor(self.event_name)


@cache
def topics() -> Mapping[str, Topic]:
    """All topics by name. Raises KeyError or ValueError naming the file that is wrong."""
    return {path.stem: _read(path) for path in sorted(REGISTRY.glob("*.yaml"))}


def topic(name: str) -> Topic:
    return topics()[name]


def event_topics() -> Iterator[Topic]:
    return (each for each in topics().values() if each.is_event_topic)


def landed_topics() -> Iterator[Topic]:
    return (each for each in topics().values() if each.raw_table is not None)


def _read(path: Path) -> Topic:
    body: dict[str, Any] = yaml.safe_load(path.read_text())
    is_event_topic = "event" in body
    try:
        return Topic(
            name=path.stem,
            description=body["description"],
            owner=body["owner"],
            message_name=body["envelope" if is_event_topic else "message"],
            event_name=body.get("event"),
            partitioned_by=tuple(body.get("partitioned_by", ())),
            producers=tuple(body["producers"]),
            consumers=tuple(body["consumers"]),
            raw_table=body.get("raw_table"),
            partitions=body["partitions"],
            config={key: str(value) for key, value in body.get("config", {}).items()},
        )
    except KeyError as missing:
        raise ValueError(f"{path.name}: {missing} is missing") from missing


def descriptor(full_name: str) -> Descriptor:
    """Descriptor of a message by its full name, as `circles.groups.v1.GroupEvent`."""
    package, _, message = full_name.rpartition(".")
    file = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in message).lstrip("_")
    module = importlib.import_module(f"{package}.{file}_pb2")
    found: Descriptor = getattr(module, message).DESCRIPTOR
    return found
