"""What holds for the events of every domain: identity, times, class, position, and that arrival only goes on:
higher offsets landed later and were received later. Domains add their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from circles.common.v1 import common_pb2

from pipelines.quality.rules import (
    Computed,
    Rule,
    Suite,
    codes,
    is_between,
    is_one_of,
    is_present,
    kinds,
    matches,
    warns,
)

if TYPE_CHECKING:
    import pandas as pd
    from google.protobuf.descriptor import Descriptor

IDENTITY = ("tenant_id", "event_id", "body_hash", "kind", "data_class", "occurred_at", "received_at")
POSITION = ("topic", "topic_id", "kafka_partition", "kafka_offset", "event_index", "landed_seq", "landed_at")

MAX_SECONDS_AHEAD = 300
"""Partners' clocks differ. An event that occurred later than this after it was received did not."""

CLOCK_SECONDS = 60
"""Gateways, Kafka and landing may differ by so much without anybody's fault."""

MAX_QUEUED_SECONDS = 3600
"""What landed longer after its receipt waited through an outage, or was replayed: it is not in order."""

UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def event_suite(
    name: str,
    message: Descriptor,
    columns: tuple[str, ...],
    rules: tuple[Rule, ...],
    *,
    derive: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame,
    computed: Mapping[str, Computed] | None = None,
) -> Suite:
    """A suite of the rules for all events and of a domain's own `rules` on its own `columns`."""
    common = (
        *(is_present(column) for column in (*IDENTITY, *POSITION)),
        matches("event_id", UUID, "event_id_is_a_uuid"),
        is_one_of("data_class", codes(common_pb2.DataClass.DESCRIPTOR)),
        is_one_of("kind", kinds(message)),
        is_between("seconds_ahead", None, MAX_SECONDS_AHEAD, "occurred_at_is_not_in_the_future"),
        is_between("occurred_year", 1900, None, "occurred_at_is_plausible"),
        *_arrival(),
    )
    return Suite(
        name,
        (*IDENTITY, *POSITION, *columns),
        (*common, *rules),
        lambda frame: derive(_with_order(_with_times(frame))),
        computed or {},
    )


def _arrival() -> tuple[Rule, ...]:
    ours = "It is about our clocks and our landing: the partner's events are none the worse."
    return (
        warns(is_between("seconds_to_landing", -CLOCK_SECONDS, None, "received_before_it_landed"), ours),
        warns(is_between("seconds_back", None, CLOCK_SECONDS, "received_at_goes_on_with_offsets"), ours),
        warns(is_between("landings_back", None, 0, "landings_go_on_with_offsets"), ours),
    )


def _with_times(frame: pd.DataFrame) -> pd.DataFrame:
    ahead = (frame["occurred_at"] - frame["received_at"]).dt.total_seconds()
    waited = (frame["landed_at"] - frame["received_at"]).dt.total_seconds()
    return frame.assign(
        seconds_ahead=ahead, occurred_year=frame["occurred_at"].dt.year, seconds_to_landing=waited
    )


def _with_order(frame: pd.DataFrame) -> pd.DataFrame:
    """How far each row is behind the furthest one at a lower offset of its partition, in landings and in
    seconds of receipt. 0: it is the furthest."""
    import pandas as pd

    rows = frame.sort_values("kafka_offset", kind="stable")
    received = (rows["received_at"] - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    in_order = pd.DataFrame(
        {
            "landings_back": pd.to_numeric(rows["landed_seq"]),
            "seconds_back": received.where(rows["seconds_to_landing"] <= MAX_QUEUED_SECONDS),
        }
    )
    furthest = in_order.groupby([rows["topic_id"], rows["kafka_partition"]]).cummax()
    return frame.join(furthest - in_order)
