"""The safeguarding process: `python -m services.safeguarding`. Several may run; they share the partitions."""

from __future__ import annotations

import logging
import sys
import time

import faust

from services.kafka.client import KafkaUnavailable, admin, topic_ids
from services.runtime.heartbeat import beat
from services.runtime.logs import configure_logging
from services.runtime.settings import KafkaSettings, SafeguardingSettings
from services.safeguarding.duty import WEBHOOK, duty
from services.safeguarding.ledger import CASES
from services.safeguarding.worker import INPUT, SERVICE, create_app

log = logging.getLogger("services.safeguarding")

RETRY_SECONDS = 2.0


def main() -> int:
    """Exit code 1: the settings cannot be meant."""
    configure_logging(SERVICE)
    beat(SERVICE, "starting")
    kafka, settings = KafkaSettings.load(), SafeguardingSettings.load()
    try:
        decided = duty(settings)
    except ValueError as refusal:
        log.error("%s", refusal)
        return 1
    if WEBHOOK not in decided.addresses:
        log.warning("no webhook: alerts are on the topic, in live.safeguarding and in `circles status` only")
    app = create_app(kafka, settings, decided, _topic_ids(kafka))
    worker = faust.Worker(app, loglevel=logging.WARNING, override_logging=False)
    worker.execute_from_commandline()
    return 0


def _topic_ids(kafka: KafkaSettings) -> dict[str, str]:
    """Waits for Kafka and the topics: there is nothing to do before."""
    while True:
        try:
            client = admin(kafka)
            try:
                found = topic_ids(client, [INPUT, CASES])
            finally:
                client.close()
            return {name: found[name] for name in (INPUT, CASES)}
        except (KafkaUnavailable, KeyError) as error:
            log.warning("waiting for Kafka: %s", type(error).__name__)
            beat(SERVICE, "waiting")
            time.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
