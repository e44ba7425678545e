"""A record that cannot be read is set aside by every stage, once, and stops nothing."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import closing

import pytest
from circles.failures.v1.failed_event_pb2 import FailedEvent
from cryptography.fernet import Fernet

from services.kafka.client import consumer, producer
from services.kafka.topics import topics
from services.runtime.settings import KafkaSettings, QuarantineSettings
from tests.partners import attended, lake_rows, landed, new_partner, published_rows, wait_until_quiet
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack

FOUND = """
SELECT stage, reason, record_size_bytes, count(DISTINCT (topic, topic_id, kafka_partition, kafka_offset))
FROM raw.failed_events WHERE record_sha256 = ? GROUP BY ALL ORDER BY stage
"""


def post_raw(topic: str, value: bytes | None, partition: int = 0) -> None:
    with closing(producer(KafkaSettings.load())) as sink:
        sink.send(topic, value, key=b"a-stranger", partition=partition).get(timeout=30)


def test_garbage_on_the_events_topic(stack: Stack) -> None:
    partner = new_partner(stack, "garbage")
    garbage = b"\xff\xfe" + uuid.uuid4().bytes
    count = topics()["participation-events"].partitions
    for partition in range(count):
        post_raw("participation-events", garbage, partition)
    partner.call([attended(group=f"g{i}") for i in range(64)])
    digest = hashlib.sha256(garbage).digest()
    wait_until(
        lambda: (
            lake_rows(FOUND, digest)
            == [(reader, "unreadable", 18, count) for reader in ("engagement", "landing", "safeguarding")]
        ),
        "garbage set aside by each reader",
    )
    assert landed(partner.tenant_id) == 64
    wait_until_quiet()
    rows = published_rows(
        "SELECT count(*) FROM live.group_engagement WHERE tenant_id = %s AND window_hours = 24",
        partner.tenant_id,
    )
    assert rows == [(64,)]


def test_a_valid_message_of_the_wrong_kind(stack: Stack) -> None:
    wrong = FailedEvent(detail=uuid.uuid4().hex).SerializeToString()
    for topic in ("group-events", "outcome-events", "study-events"):
        post_raw(topic, wrong)
    digest = hashlib.sha256(wrong).digest()
    wait_until(lambda: [row[-1] for row in lake_rows(FOUND, digest)] == [3], "three records set aside")


def test_garbage_on_the_figures_topic(stack: Stack) -> None:
    garbage = b"\x01garbage" + uuid.uuid4().bytes
    post_raw("engagement-metrics", garbage)
    digest = hashlib.sha256(garbage).digest()
    wait_until(lambda: lake_rows(FOUND, digest) == [("live", "unreadable", 24, 1)], "set aside by live")


def test_a_tombstone_and_garbage_on_the_failures_topic(stack: Stack) -> None:
    garbage = b"\xff" + uuid.uuid4().bytes
    post_raw("failed-events", garbage)
    post_raw("failed-events", None)
    wait_until(lambda: len(lake_rows(FOUND, hashlib.sha256(garbage).digest())) == 1, "set aside by landing")
    wait_until_quiet()


def test_foreign_bytes_are_kept_under_the_operators_key_only(stack: Stack) -> None:
    secret = b"\xffJane Doe wrote " + uuid.uuid4().hex.encode()
    post_raw("participation-events", secret)
    digest = hashlib.sha256(secret).digest()
    wait_until(lambda: len(lake_rows(FOUND, digest)) == 3, "set aside")
    columns = {row[0] for row in lake_rows("SELECT column_name FROM (DESCRIBE raw.failed_events)")}
    assert "quarantined_bytes" not in columns
    with closing(
        consumer(KafkaSettings.load(), auto_offset_reset="earliest", consumer_timeout_ms=5000)
    ) as reader:
        reader.subscribe(["failed-events"])
        kept = [_failed(record.value) for record in reader]
    # Landing has put its own into the lake at once.
    found = [each for each in kept if each is not None and each.record_sha256 == digest]
    assert len(found) == 2
    cipher = Fernet(QuarantineSettings.load().key_file.read_bytes().strip())
    for each in found:
        assert secret not in each.quarantined_bytes
        assert cipher.decrypt(each.quarantined_bytes) == secret


def _failed(value: bytes | None) -> FailedEvent | None:
    try:
        return FailedEvent.FromString(value or b"")
    except Exception:
        return None
