"""Rules of raw.failed_events. Its tenant may be unknown: foreign bytes name none."""

from __future__ import annotations

from circles.failures.v1 import failed_event_pb2 as contract

from pipelines.quality.rules import Suite, codes, has_columns, is_one_of, is_present

POSITION = ("topic", "topic_id", "kafka_partition", "kafka_offset", "landed_seq")
COLUMNS = ("stage", "reason", "failed_at", *POSITION)

SUITE = Suite(
    name="failed_events",
    columns=COLUMNS,
    rules=(
        has_columns(COLUMNS),
        *(is_present(column) for column in COLUMNS),
        is_one_of("stage", codes(contract.FailureStage.DESCRIPTOR)),
        is_one_of("reason", codes(contract.FailureReason.DESCRIPTOR)),
    ),
)
