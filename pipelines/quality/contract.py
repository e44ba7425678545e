"""What columns a raw table has by its contract: read from the messages, not from what landing made of them.

So that a table is held against the contract and not against the program that fills it. What a column means
stands in protos/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from services.kafka.topics import Topic, landed_topics

_SCALARS = {
    FieldDescriptor.TYPE_STRING: "VARCHAR",
    FieldDescriptor.TYPE_ENUM: "VARCHAR",
    FieldDescriptor.TYPE_BYTES: "BLOB",
    FieldDescriptor.TYPE_BOOL: "BOOLEAN",
    FieldDescriptor.TYPE_DOUBLE: "DOUBLE",
    FieldDescriptor.TYPE_INT32: "INTEGER",
    FieldDescriptor.TYPE_SINT32: "INTEGER",
    FieldDescriptor.TYPE_INT64: "BIGINT",
    FieldDescriptor.TYPE_SINT64: "BIGINT",
    FieldDescriptor.TYPE_FIXED64: "BIGINT",
    FieldDescriptor.TYPE_SFIXED64: "BIGINT",
    FieldDescriptor.TYPE_UINT32: "BIGINT",
    FieldDescriptor.TYPE_UINT64: "BIGINT",
}
"""A code is its name; unsigned numbers are wider, because not every engine has them."""

_TIME = "TIMESTAMP WITH TIME ZONE"
_LANDED = {"topic": "VARCHAR", "topic_id": "VARCHAR", "landed_seq": "BIGINT", "landed_at": _TIME}
_BY_DAY = {"landed_on": "DATE"}
_PLACE = {"kafka_partition": "INTEGER", "kafka_offset": "BIGINT", "event_index": "INTEGER"}
_STAYS_ON_TOPIC = ("quarantined_bytes",)
_WHOLE_ENVELOPE = ("tenant_id", "data_class", "received_at")


def columns_of(raw_table: str) -> Mapping[str, str]:
    """Type in the lake by column."""
    topic = next(each for each in landed_topics() if each.raw_table == raw_table)
    if not topic.is_event_topic:
        fields = [each for each in topic.message.fields if each.name not in _STAYS_ON_TOPIC]
        return dict(_leaves(fields)) | _LANDED
    return dict(_of_events(topic)) | {"kind": "VARCHAR"} | _PLACE | _LANDED | _BY_DAY


def _of_events(topic: Topic) -> Iterator[tuple[str, str]]:
    yield from _leaves(topic.message.fields_by_name[name] for name in _WHOLE_ENVELOPE)
    accepted = topic.message.fields_by_name["events"].message_type
    yield from _leaves(each for each in _fields(accepted) if each.name != "event")
    yield from _leaves(topic.event.fields)


def _leaves(fields: Iterable[FieldDescriptor], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A leaf of a nested message is `<parent>__<leaf>`; what is repeated is one column."""
    for field in fields:
        nested = field.message_type
        if nested is None or field.is_repeated or _is_time(nested):
            yield prefix + field.name, _type(field)
        else:
            yield from _leaves(nested.fields, f"{prefix}{field.name}__")


def _type(field: FieldDescriptor) -> str:
    return f"{_single(field)}[]" if field.is_repeated else _single(field)


def _single(field: FieldDescriptor) -> str:
    nested = field.message_type
    if nested is None:
        return _SCALARS[field.type]
    if _is_time(nested):
        return _TIME
    return "STRUCT(" + ", ".join(f"{each.name} {_type(each)}" for each in nested.fields) + ")"


def _is_time(message: Descriptor) -> bool:
    return message.full_name == "google.protobuf.Timestamp"


def _fields(message: Descriptor | None) -> Iterable[FieldDescriptor]:
    return message.fields if message is not None else ()
