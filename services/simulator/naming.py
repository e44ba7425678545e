"""How a simulated event gets its id, and how communities of other seeds keep apart. What happens in them is
not told here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from services.client import Event

NAMESPACE = uuid.UUID("c2b7f1d0-8a4e-5d3b-9f60-1e5a7c90b2d4")

FIRST_SEED = 1


def label_of(seed: int, parameters: Any, defaults: Any) -> str:
    """Empty for the first seed with the parameters as they are, else short and another for each of them."""
    words = [] if seed == FIRST_SEED else [f"s{seed}"]
    if parameters != defaults:
        told = {} if parameters is None else asdict(parameters)
        words.append(sha256(repr(sorted(told.items())).encode()).hexdigest()[:6])
    return "-".join(words)


def named(events: Iterable[Event], label: str) -> Iterator[Event]:
    """Events with an id each. With a label all references begin with it, and all ids are others."""
    for event in events:
        if label:
            _prefix(event, f"{label}-")
        if label or not event.event_id:
            event.event_id = ""
            event.event_id = id_of(label, event)
        yield event


def id_of(word: str, event: Event) -> str:
    """A hash of what the event says, its id included, and of `word`: the same at every call."""
    body = event.SerializeToString(deterministic=True)
    return str(uuid.uuid5(NAMESPACE, f"{word}/{type(event).__name__}/{body.hex()}"))


def _prefix(message: Message, prefix: str) -> None:
    for field, value in message.ListFields():
        if field.name.endswith("_ref"):
            setattr(message, field.name, prefix + value)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and not field.is_repeated:
            _prefix(value, prefix)
