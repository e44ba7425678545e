"""What holds for the events of every domain: identity, times, class, position. Domains add their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from circles.common.v1 import common_pb2

from pipelines.quality.rules import (
    Rule,
    Suite,
    codes,
    has_columns,
    is_between,
    is_one_of,
    is_present,
    kinds,
    matches,
)

if TYPE_CHECKING:
    import pandas as pd
    from google.protobuf.descriptor import Descriptor

IDENTITY = ("tenant_id", "event_id", "body_hash", "kind", "data_class", "occurred_at", "received_at")
POSITION = ("topic", "topic_id", "kafka_partition", "kafka_offset", "event_index", "landed_seq")

MAX_SECONDS_AHEAD = 300
"""Partners' clocks differ. An event that occurred later than this after it was received did not."""

UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def event_suite(
    name: str,
    message: Descriptor,
    columns: tuple[str, ...],
    rules: tuple[Rule, ...],
    derive: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame,
) -> Suite:
    """A suite of the rules for all events and of a domain's own `rules` on its own `columns`."""
    common = (
        has_columns((*IDENTITY, *POSITION, *columns)),
        *(is_present(column) for column in (*IDENTITY, *POSITION)),
        matches("event_id", UUID, "event_id_is_a_uuid"),
        is_one_of("data_class", codes(common_pb2.DataClass.DESCRIPTOR)),
        is_one_of("kind", kinds(message)),
        is_between("seconds_ahead", None, MAX_SECONDS_AHEAD, "occurred_at_is_not_in_the_future"),
        is_between("occurred_year", 1900, None, "occurred_at_is_plausible"),
    )
    return Suite(
        name, (*IDENTITY, *POSITION, *columns), (*common, *rules), lambda frame: derive(_with_times(frame))
    )


def _with_times(frame: pd.DataFrame) -> pd.DataFrame:
    if not {"occurred_at", "received_at"} <= set(frame.columns):
        return frame
    ahead = (frame["occurred_at"] - frame["received_at"]).dt.total_seconds()
    return frame.assign(seconds_ahead=ahead, occurred_year=frame["occurred_at"].dt.year)
