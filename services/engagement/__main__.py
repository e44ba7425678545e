"""The engagement process: `python -m services.engagement`. Several may run; they share the partitions."""

from __future__ import annotations

import logging
import sys
import time

import faust

from services.engagement.warm_up import warm_up
from services.engagement.worker import INPUT, SERVICE, create_app
from services.kafka.client import KafkaUnavailable, admin, topic_ids
from services.runtime.heartbeat import beat
from services.runtime.logs import configure_logging
from services.runtime.settings import EngagementSettings, KafkaSettings, QuarantineSettings

RETRY_SECONDS = 2.0


def main() -> int:
    configure_logging(SERVICE)
    beat(SERVICE, "starting")
    warm_up()
    kafka = KafkaSettings.load()
    app = create_app(kafka, EngagementSettings.load(), QuarantineSettings.load(), _input_topic_id(kafka))
    worker = faust.Worker(app, loglevel=logging.WARNING, override_logging=False)
    worker.execute_from_commandline()
    return 0


def _input_topic_id(kafka: KafkaSettings) -> str:
    """Waits for Kafka and the topic: the worker has nothing to do before."""
    while True:
        try:
            client = admin(kafka)
            try:
                return topic_ids(client, [INPUT])[INPUT]
            finally:
                client.close()
        except (KafkaUnavailable, KeyError) as error:
            logging.getLogger(__name__).warning("waiting for Kafka: %s", type(error).__name__)
            beat(SERVICE, "waiting")
            time.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
