"""Answers as bytes. An accepted event's result differs by two fields only, so `kernels` cuts it by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from circles.common.v1.common_pb2 import EVENT_STATUS_ACCEPTED, EventResult

from services.ingestion import kernels
from services.ingestion.doors import Door
from services.ingestion.envelopes import varint
from services.ingestion.intake import Taken
from services.ingestion.kernels import INDEX, MAX_RESULT_BYTES, TAG_RESULT


def post_response(taken: Taken) -> bytes:
    """A Post…Response: one result per event, in order. All four have the same fields."""
    if not taken.others:
        return accepted_results(taken.fresh)[0]
    return b"".join(_results(taken))


def accepted_results(events: np.ndarray) -> tuple[bytes, np.ndarray]:
    """The results of events of which nothing more is to be said, and where each ends."""
    out = np.empty(len(events) * MAX_RESULT_BYTES, np.uint8)
    ends = np.empty(len(events), np.int64)
    size = kernels.write_results(events, EVENT_STATUS_ACCEPTED, out, ends)
    return out[:size].tobytes(), ends


def _results(taken: Taken) -> Iterator[bytes]:
    """The others between the accepted ones."""
    others = sorted(taken.others)
    usual = taken.fresh[~np.isin(taken.fresh[:, INDEX], others)]
    accepted, ends = accepted_results(usual)
    start = 0
    for index, before in zip(others, np.searchsorted(usual[:, INDEX], others), strict=True):
        end = int(ends[before - 1]) if before else 0
        yield accepted[start:end]
        yield _result(taken.others[index])
        start = end
    yield accepted[start:]


def _result(result: EventResult) -> bytes:
    body = result.SerializeToString()
    return bytes([TAG_RESULT]) + varint(len(body)) + body


def stream_response(door: Door, taken: Taken, count_acknowledged: int, window_batches: int) -> bytes:
    """A Stream…Response for `taken` and batches before it: only results that say more than ACCEPTED."""
    response: Any = door.stream_response()
    response.acknowledged_sequence = taken.sequence
    response.count_acknowledged = count_acknowledged
    response.results.extend(taken.others[index] for index in sorted(taken.others))
    response.window_batches = window_batches
    return bytes(response.SerializeToString())
