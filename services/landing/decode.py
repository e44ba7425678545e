"""Kafka records to Arrow tables, many at a time, with what cannot be read set aside.

The shape of columns is made in `columns`; writing them is `loader`'s. A record is used whole or not at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from circles.failures.v1 import failed_event_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from ptars import HandlerPool, PtarsConfig

from services.kafka.topics import MAX_ENVELOPE_EVENTS, Topic, topics
from services.landing.columns import columns, kinds

ENVELOPE_COLUMNS = ("tenant_id", "data_class", "received_at")


class Record(NamedTuple):
    """One Kafka record. `value` is None for a tombstone."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class Unusable(NamedTuple):
    """A record that was set aside, and why."""

    record: Record
    reason: failed_event_pb2.FailureReason.ValueType
    detail: str


@dataclass(frozen=True)
class Decoded:
    """`rows` has one row per event; `unusable` one entry per record set aside."""

    rows: pa.Table
    unusable: list[Unusable]


@cache
def _pool() -> HandlerPool:
    return HandlerPool(_all_files(), PtarsConfig(timestamp_unit="us"))


@cache
def _all_files() -> list[FileDescriptor]:
    return list({each.message.file for each in topics().values()})


def _parse(message: Descriptor, values: list[bytes]) -> pa.RecordBatch:
    """One row per message. Raises ValueError when one of them cannot be parsed."""
    return _pool().get_for_message(message).list_to_record_batch(values)


def decode(topic: Topic, records: Sequence[Record]) -> Decoded:
    """Rows of `records`, which are all of `topic`, in their order."""
    batch, readable, unusable = _parse_readable(topic, records)
    if not topic.is_event_topic:
        return Decoded(pa.table(dict(columns(_as_struct(batch), topic.message.fields))), unusable)
    is_valid = _valid_envelopes(batch, readable)
    unusable += [
        Unusable(
            readable[i], failed_event_pb2.FAILURE_REASON_INVALID_ENVELOPE, "not as the gateway writes it"
        )
        for i in np.flatnonzero(~is_valid).tolist()
    ]
    if not is_valid.all():  # a filter copies everything
        batch = batch.filter(pa.array(is_valid))
        readable = [record for record, valid in zip(readable, is_valid, strict=True) if valid]
    return Decoded(_event_rows(topic, batch, readable), unusable)


def _parse_readable(
    topic: Topic, records: Sequence[Record]
) -> tuple[pa.RecordBatch, Sequence[Record], list[Unusable]]:
    """All at once, which is the usual case; one by one only when one of them is wrong."""
    message = topic.message
    if all(record.value for record in records):
        with contextlib.suppress(ValueError):
            return _parse(message, _values(records)), records, []
    verdicts = [(record, _why_unreadable(message, record)) for record in records]
    readable = [record for record, why in verdicts if why is None]
    reason = failed_event_pb2.FAILURE_REASON_UNREADABLE
    unusable = [Unusable(record, reason, why) for record, why in verdicts if why is not None]
    return _parse(message, _values(readable)), readable, unusable


def _values(records: Sequence[Record]) -> list[bytes]:
    return [record.value or b"" for record in records]


def _why_unreadable(message: Descriptor, record: Record) -> str | None:
    if not record.value:
        return "empty record"
    try:
        _parse(message, [record.value])
    except ValueError:
        return f"not a {message.full_name}"
    return None


def _valid_envelopes(batch: pa.RecordBatch, records: Sequence[Record]) -> np.ndarray:
    """Which envelopes are as the gateway writes them: bytes of another message may parse by chance."""
    events = batch.column("events")
    counts = pc.list_value_length(events).to_numpy(zero_copy_only=False)
    is_valid: np.ndarray = (counts >= 1) & (counts <= MAX_ENVELOPE_EVENTS)
    is_valid &= pc.is_valid(batch.column("received_at")).to_numpy(zero_copy_only=False)
    classes = batch.column("data_class").to_numpy()
    is_valid &= (classes >= 1) & (classes <= 3)
    tenants = batch.column("tenant_id").to_pylist()
    keys = [record.key == tenant.encode() != b"" for tenant, record in zip(tenants, records, strict=True)]
    is_valid &= np.array(keys, bool)
    bad_events = ~_valid_events(pc.list_flatten(events).field("event"))
    parents = pc.list_parent_indices(events).to_numpy()
    is_valid &= np.bincount(parents, weights=bad_events, minlength=len(batch)) == 0
    return is_valid


def _valid_events(event: pa.StructArray) -> np.ndarray:
    oneof = [field for field in event.type if pa.types.is_struct(field.type)]
    has_kind = np.zeros(len(event), bool)
    for field in oneof:
        has_kind |= event.field(field.name).is_valid().to_numpy(zero_copy_only=False)
    has_id = pc.equal(pc.utf8_length(event.field("event_id")), 36).fill_null(False)
    has_time = event.field("occurred_at").is_valid()
    return np.asarray(
        has_kind & has_id.to_numpy(zero_copy_only=False) & has_time.to_numpy(zero_copy_only=False)
    )


def _event_rows(topic: Topic, batch: pa.RecordBatch, records: Sequence[Record]) -> pa.Table:
    accepted = pc.list_flatten(batch.column("events"))
    event = accepted.field("event")
    message = topic.event
    parents = pc.list_parent_indices(batch.column("events"))
    head = [topic.message.fields_by_name[name] for name in ENVELOPE_COLUMNS]
    envelope = columns(_as_struct(batch.select(ENVELOPE_COLUMNS)), head)
    rows = {name: array.take(parents) for name, array in envelope}
    rows |= dict(columns(accepted, _beside_the_event(topic)))
    body = dict(columns(event, message.fields))
    in_oneof = {field.name for field in message.oneofs_by_name["kind"].fields}
    rows |= {name: array for name, array in body.items() if name.split("__")[0] not in in_oneof}
    rows["kind"] = kinds(event, message)
    rows |= {name: array for name, array in body.items() if name not in rows}
    return pa.table(rows | _positions(records, parents))


def _beside_the_event(topic: Topic) -> list[FieldDescriptor]:
    """What the gateway says of each event: its hash, whether it is late, what it sealed."""
    accepted = topic.message.fields_by_name["events"].message_type
    assert accepted is not None  # noqa: S101  # every envelope of the contract has messages there
    return [field for field in accepted.fields if field.name != "event"]


def _positions(records: Sequence[Record], parents: pa.Array) -> dict[str, pa.Array]:
    parent = parents.to_numpy()
    # Rows of one record stand together, so a row's place in it is its distance from the record's first row.
    first = np.searchsorted(parent, parent, side="left") if len(parent) else parent
    partitions = pa.array([record.partition for record in records], pa.int32())
    offsets = pa.array([record.offset for record in records], pa.int64())
    return {
        "kafka_partition": partitions.take(parents),
        "kafka_offset": offsets.take(parents),
        "event_index": pa.array(np.arange(len(parent)) - first, pa.int32()),
    }


def _as_struct(batch: pa.RecordBatch) -> pa.StructArray:
    return pa.StructArray.from_arrays(batch.columns, fields=list(batch.schema))
