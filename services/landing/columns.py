"""Protobuf to columns: turns an Arrow struct decoded from a message into flat, portable columns.

Names: a leaf of a nested message is `<parent>__<leaf>`. Absent, empty text or bytes and an unspecified
code are NULL; codes are lower case without their enum's prefix; integers are signed. Nothing here knows
Kafka or the lake.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

Column = tuple[str, pa.Array]


def columns(array: pa.StructArray, fields: Iterable[FieldDescriptor], prefix: str = "") -> Iterator[Column]:
    """Flat columns of `array` for these fields of its message, in their order."""
    children = dict(zip((field.name for field in array.type), array.flatten(), strict=True))
    for field in fields:
        yield from _columns_of_field(children[field.name], field, prefix)


def kinds(array: pa.StructArray, message: Descriptor) -> pa.Array:
    """Name of the member of the oneof `kind` that each event has; NULL where it has none."""
    members = [field.name for field in message.oneofs_by_name["kind"].fields]
    numbers = np.full(len(array), len(members))
    for number, name in enumerate(members):
        if array.field(name).null_count < len(array):
            numbers[array.field(name).is_valid().to_numpy(zero_copy_only=False)] = number
    return pa.array([*members, None], pa.string()).take(pa.array(numbers))


def _columns_of_field(child: pa.Array, field: FieldDescriptor, prefix: str) -> Iterator[Column]:
    name = prefix + field.name
    nested = field.message_type
    if nested is None or field.is_repeated or nested.full_name == "google.protobuf.Timestamp":
        yield name, _portable(child, field)
    else:
        yield from columns(child, nested.fields, prefix=f"{name}__")


def _portable(child: pa.Array, field: FieldDescriptor) -> pa.Array:
    if field.enum_type is not None and not field.is_repeated:
        return _codes(child, field.enum_type)
    if pa.types.is_string(child.type) or pa.types.is_binary(child.type):
        return _without_empty(child)
    signed = _signed(child.type)
    return child if signed == child.type else child.cast(signed)


def _without_empty(texts: pa.Array) -> pa.Array:
    """Most columns of a batch have no empty text, or nothing at all, and need no copy."""
    shortest = pc.min(pc.binary_length(texts)).as_py()
    if shortest is None or shortest > 0:
        return texts
    return pc.if_else(pc.equal(pc.binary_length(texts), 0), pa.scalar(None, texts.type), texts)


def _codes(numbers: pa.Array, enum: EnumDescriptor) -> pa.Array:
    """Numbers of an enum as codes. A number that this version does not know stays, as digits."""
    if numbers.null_count == len(numbers):
        return pa.nulls(len(numbers), pa.string())
    known, names = _names(enum)
    places = pc.index_in(numbers, known)
    codes = names.take(places)
    if places.null_count == numbers.null_count:
        return codes
    unknown = pc.if_else(pc.equal(numbers, 0), pa.scalar(None, pa.string()), numbers.cast(pa.string()))
    return pc.coalesce(codes, unknown)


@cache
def _names(enum: EnumDescriptor) -> tuple[pa.Array, pa.Array]:
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    stated = [value for value in enum.values if value.number != 0]
    return (
        pa.array([value.number for value in stated], pa.int32()),
        pa.array([value.name.removeprefix(prefix).lower() for value in stated], pa.string()),
    )


def _signed(kind: pa.DataType) -> pa.DataType:
    """The same type with unsigned integers widened to int64, which every engine has."""
    if pa.types.is_unsigned_integer(kind):
        return pa.int64()
    if pa.types.is_list(kind):
        return pa.list_(_signed(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _signed(field.type)) for field in kind])
    return kind
