"""Rules of raw.failed_events. The tenant of foreign bytes is unknown; an event that the gateway deferred was
on no topic yet, and has an identity instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from circles.failures.v1 import failed_event_pb2 as contract

from pipelines.quality.rules import Suite, codes, is_between, is_one_of, is_present, is_true, warns
from pipelines.quality.suites.events import CLOCK_SECONDS

if TYPE_CHECKING:
    import pandas as pd

ALWAYS = (
    "stage",
    "reason",
    "failed_at",
    "topic",
    "kafka_partition",
    "kafka_offset",
    "landed_seq",
    "landed_at",
)
OF_DEFERRED = ("tenant_id", "event_id", "body_hash", "data_class", "received_at", "event_bytes")
COLUMNS = (*ALWAYS, "topic_id", *OF_DEFERRED)


def _derive(frame: pd.DataFrame) -> pd.DataFrame:
    is_deferred = frame["stage"] == "ingestion"
    return frame.assign(
        has_place=frame["topic_id"].notna() | is_deferred,
        seconds_to_landing=(frame["landed_at"] - frame["failed_at"]).dt.total_seconds(),
        can_be_replayed=~is_deferred | frame[list(OF_DEFERRED)].notna().all(axis=1),
    )


SUITE = Suite(
    name="failed_events",
    columns=COLUMNS,
    rules=(
        *(is_present(column) for column in ALWAYS),
        is_true("has_place", "topic_id_is_present"),
        is_true("can_be_replayed", "deferred_event_is_whole"),
        is_one_of("stage", codes(contract.FailureStage.DESCRIPTOR)),
        is_one_of("reason", codes(contract.FailureReason.DESCRIPTOR)),
        warns(
            is_between("seconds_to_landing", -CLOCK_SECONDS, None, "failed_before_it_landed"),
            "It is about our clocks: the event is none the worse.",
        ),
    ),
    derive=_derive,
)
