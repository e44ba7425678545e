"""Quix Streams in its best forms: state in RocksDB with its changelog, at least once, its own defaults.

`json`: an event a record, counted in windows of one hour of event time by group. `envelope`: the gateway's
records, counted by group, hour and kind in state under the envelope's key, one reading and one writing for
each group and hour in an envelope. Runs in an environment of its own (`requirements.txt`).
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope
from circles.participation.v1.participation_event_pb2 import ParticipationEvent
from quixstreams import Application, State
from quixstreams.kafka import ConnectionConfig

from services.runtime.settings import KafkaSettings, home

HOUR_SECONDS = 3600
GRACE = timedelta(hours=26)
"""As late as events come."""

FIELDS = ParticipationEvent.DESCRIPTOR.oneofs_by_name["kind"].fields
KINDS: dict[str | None, int] = {field.name: number for number, field in enumerate(FIELDS)}
COUNTS = struct.Struct(f"<{len(KINDS)}I")
NONE = COUNTS.pack(*[0] * len(KINDS))


def count_json(app: Application, topic: str) -> None:
    source = app.topic(topic, value_deserializer="json", timestamp_extractor=_event_time)
    app.dataframe(source).tumbling_window(timedelta(hours=1), grace_ms=GRACE).count().current()


def _event_time(value: Any, _headers: Any, _timestamp: float, _timestamp_type: Any) -> int:
    return int(value["at_milliseconds"])


def count_envelopes(app: Application, topic: str) -> None:
    source = app.topic(topic, value_deserializer="bytes")
    app.dataframe(source).update(_count, stateful=True)


def _count(value: bytes, state: State) -> None:
    more: dict[str, list[int]] = {}
    for accepted in ParticipationEventEnvelope.FromString(value).events:
        event = accepted.event
        key = f"{event.group_ref}{event.occurred_at.seconds // HOUR_SECONDS}"
        counts = more.get(key)
        if counts is None:
            counts = more[key] = [0] * len(KINDS)
        counts[KINDS[event.WhichOneof("kind")]] += 1
    for key, counts in more.items():
        known = COUNTS.unpack(state.get_bytes(key, NONE))
        state.set_bytes(key, COUNTS.pack(*map(int.__add__, known, counts)))


FORMS: dict[str, Callable[[Application, str], None]] = {"json": count_json, "envelope": count_envelopes}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--form", choices=FORMS, required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--topic", required=True)
    options = parser.parse_args()
    settings = KafkaSettings.load()
    app = Application(
        ConnectionConfig(
            bootstrap_servers=settings.bootstrap,
            security_protocol=settings.security_protocol,
            sasl_mechanism=settings.sasl_mechanism,
            sasl_username=settings.username,
            sasl_password=settings.password,
        ),
        consumer_group=options.group,
        auto_offset_reset="earliest",
        state_dir=home() / options.group,
        loglevel="WARNING",
    )
    FORMS[options.form](app, options.topic)
    app.run()


if __name__ == "__main__":
    main()
