"""Answers as bytes. An accepted event's result differs by two fields only, so it is cut by hand."""

from __future__ import annotations

from typing import Any

from circles.common.v1.common_pb2 import EVENT_STATUS_ACCEPTED, EventResult

from services.ingestion.doors import Door
from services.ingestion.envelopes import varint
from services.ingestion.intake import Taken

_RESULTS = bytes([1 << 3 | 2])  # Post…Response.results
_STATUS = bytes([3 << 3, EVENT_STATUS_ACCEPTED])  # EventResult.status


def _accepted_head(index: int) -> bytes:
    """Bytes of an accepted event's result before its 36 bytes of event_id, with tag and length."""
    number = bytes([1 << 3]) + varint(index) if index else b""
    inner = number + bytes([2 << 3 | 2, 36])
    return _RESULTS + varint(len(inner) + 36 + len(_STATUS)) + inner


_ACCEPTED_HEADS = [_accepted_head(index) for index in range(500)]


def post_response(taken: Taken) -> bytes:
    """A Post…Response: one result per event, in order. All four have the same fields."""
    if not taken.others:
        ids = zip(_ACCEPTED_HEADS, taken.event_ids, strict=False)
        return b"".join([head + event_id + _STATUS for head, event_id in ids])
    return b"".join(_result(index, event_id, taken) for index, event_id in enumerate(taken.event_ids))


def _result(index: int, event_id: bytes, taken: Taken) -> bytes:
    other: EventResult | None = taken.others.get(index)
    if other is None:
        return _ACCEPTED_HEADS[index] + event_id + _STATUS
    body = other.SerializeToString()
    return _RESULTS + varint(len(body)) + body


def stream_response(door: Door, taken: Taken, count_acknowledged: int, window_batches: int) -> bytes:
    """A Stream…Response for `taken` and batches before it: only results that say more than ACCEPTED."""
    response: Any = door.stream_response()
    response.acknowledged_sequence = taken.sequence
    response.count_acknowledged = count_acknowledged
    response.results.extend(taken.others[index] for index in sorted(taken.others))
    response.window_batches = window_batches
    return bytes(response.SerializeToString())
