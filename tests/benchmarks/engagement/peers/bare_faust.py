"""Faust as it comes: one agent, one table in memory with its changelog, one write per event.

It counts events by group. What the same language and library cost with Faust's own state, and without our
figures, is all that it shows.
"""

from __future__ import annotations

import argparse
import logging
from typing import Any

import faust
from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope

from services.runtime.settings import KafkaSettings, home


def create_app(settings: KafkaSettings, group: str, topic: str, partitions: int) -> faust.App:
    app = faust.App(
        group,
        broker=[f"kafka://{each}" for each in settings.bootstrap.split(",")],
        broker_credentials=faust.SASLCredentials(
            username=settings.username,
            password=settings.password.get_secret_value(),
            mechanism=settings.sasl_mechanism,
        ),
        datadir=str(home() / group),
        store="memory://",
        topic_partitions=partitions,
        topic_replication_factor=1,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        worker_redirect_stdouts=False,
    )
    counts = app.Table("counts", default=int)
    source = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(source)
    async def count(stream: Any) -> None:
        async for value in stream:
            for accepted in ParticipationEventEnvelope.FromString(value).events:
                counts[accepted.event.group_ref] += 1

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--group", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    options = parser.parse_args()
    app = create_app(KafkaSettings.load(), options.group, options.topic, options.partitions)
    app.conf.web_enabled = False
    faust.Worker(app, loglevel=logging.WARNING, override_logging=False).execute_from_commandline()


if __name__ == "__main__":
    main()
