"""Envelopes as the gateway writes them, read by compiled loops: rows straight from the bytes of many records.

What is unusual in any way (a retraction, a field that is not known here, bytes that are no envelope) is left
to `reading`, which has protobuf read it: what is read here, protobuf would read in the same way. One file,
because numba's cache looks at one only.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from services.engagement.layout import KINDS

MAX_EVENTS = 500
FIRST_KIND = 10
"""Number of the first kind in the oneof of ParticipationEvent; the others follow in the order of KINDS."""
COUNT_KINDS = len(KINDS)

THREAD, ACT, PARENT, CODE = 1, 2, 3, 4
FIELDS = np.zeros((COUNT_KINDS, 8), np.uint8)
"""What is kept of each kind, by the number of its field."""
for kind, number, kept in (
    ("session_held", 1, THREAD),
    ("session_cancelled", 1, THREAD),
    ("session_attended", 1, THREAD),
    ("session_attended", 2, CODE),
    ("thread_started", 1, THREAD),
    ("thread_started", 2, ACT),
    ("reply_posted", 1, THREAD),
    ("reply_posted", 2, ACT),
    ("reply_posted", 3, PARENT),
    ("moderation_acted", 1, CODE),
    ("moderation_acted", 2, ACT),
):
    FIELDS[KINDS.index(kind), number] = kept

SMALLEST_EVENT_BYTES = 2 * (36 + 2)
"""An id and a group: less room no event takes."""

BAD = -1


@njit(cache=True)
def _varint(data, at, end):
    """Value, and where it ends; BAD for none."""
    value = np.uint64(0)
    for i in range(10):
        if at >= end:
            return np.uint64(0), BAD
        byte = data[at]
        at += 1
        value |= np.uint64(byte & 0x7F) << np.uint64(7 * i)
        if byte < 0x80:
            return value, at
    return np.uint64(0), BAD


@njit(cache=True)
def _skip(data, at, end, wire):
    """Where a field that is not kept ends; BAD for what is no field."""
    if wire == 0:
        return _varint(data, at, end)[1]
    if wire == 1:
        return at + 8 if at + 8 <= end else BAD
    if wire == 5:
        return at + 4 if at + 4 <= end else BAD
    if wire != 2:
        return BAD
    size, at = _varint(data, at, end)
    return at + np.int64(size) if at != BAD and size <= np.uint64(end - at) else BAD


@njit(cache=True)
def _hex(data, at, count):
    """The number that so many lower hexadecimal digits say, and whether they do."""
    number = np.uint64(0)
    for i in range(at, at + count):
        digit = data[i]
        if 48 <= digit <= 57:
            nibble = digit - 48
        elif 97 <= digit <= 102:
            nibble = digit - 87
        else:
            return np.uint64(0), False
        number = number << np.uint64(4) | np.uint64(nibble)
    return number, True


@njit(cache=True)
def mixed(high, low):
    """64 bits of the 128 of a UUID: every bit of both turns about half of them."""
    mix = high * np.uint64(0x9E3779B97F4A7C15) ^ low
    mix = (mix ^ mix >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mix = (mix ^ mix >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return mix ^ mix >> np.uint64(31)


@njit(cache=True)
def _uuid(data, at):
    """A UUID's number, and whether it is one in lower case."""
    a, is_a = _hex(data, at, 8)
    b, is_b = _hex(data, at + 9, 4)
    c, is_c = _hex(data, at + 14, 4)
    d, is_d = _hex(data, at + 19, 4)
    e, is_e = _hex(data, at + 24, 12)
    dash = 45
    dashes = (
        data[at + 8] == dash and data[at + 13] == dash and data[at + 18] == dash and data[at + 23] == dash
    )
    high = a << np.uint64(32) | b << np.uint64(16) | c
    low = d << np.uint64(48) | e
    return mixed(high, low), is_a and is_b and is_c and is_d and is_e and dashes


@njit(cache=True)
def _reference(data, at, size):
    """A pseudonym's number, 0 for none; and whether it is one."""
    if size == 0:
        return np.uint64(0), True
    if size != 36:
        return np.uint64(0), False
    number, is_hex = _hex(data, at + 4, 16)
    return max(number, np.uint64(1)), is_hex


@njit(cache=True)
def _content(data, at, end, kind, row, fields):
    """What is kept of a kind; whether all of it was understood."""
    while at < end:
        tag, at = _varint(data, at, end)
        if at == BAD:
            return False
        number, wire = np.int64(tag >> np.uint64(3)), np.int64(tag & np.uint64(7))
        kept = fields[kind, number] if number < 8 else 0
        if kept == CODE and wire == 0:
            value, at = _varint(data, at, end)
            if at == BAD or value > 255:
                return False
            row.role = value
        elif kept != 0:
            size, at = _varint(data, at, end)
            if wire != 2 or at == BAD or size > np.uint64(end - at):
                return False
            value, is_reference = _reference(data, at, np.int64(size))
            if not is_reference:
                return False
            if kept == THREAD:
                row.thread = value
            elif kept == ACT:
                row.act = value
            else:
                row.parent = value
            at += np.int64(size)
        else:
            at = _skip(data, at, end, wire)
            if at == BAD:
                return False
    return True


@njit(cache=True)
def _seconds(data, at, end):
    """Seconds of a Timestamp, and whether it was understood."""
    seconds = np.int64(0)
    while at < end:
        tag, at = _varint(data, at, end)
        if at == BAD or tag & np.uint64(7) != 0:
            return np.int64(0), False
        value, at = _varint(data, at, end)
        if at == BAD:
            return np.int64(0), False
        if tag == 8:
            seconds = np.int64(value)
    return seconds, True


@njit(cache=True)
def _event(data, at, end, row, fields):
    """Fills a row; where the group's name stands, or BAD where something was not understood."""
    group = BAD
    has_id = has_time = has_kind = False
    row.person, row.thread, row.act, row.parent = 0, 0, 0, 0
    row.kind, row.role, row.hidden, row.spare, row.more = 0, 0, 0, 0, 0
    while at < end:
        tag, at = _varint(data, at, end)
        if at == BAD or tag & np.uint64(7) != 2:
            return BAD
        size, at = _varint(data, at, end)
        if at == BAD or size > np.uint64(end - at):
            return BAD
        number, stop = np.int64(tag >> np.uint64(3)), at + np.int64(size)
        kind = number - FIRST_KIND
        if number == 1:
            if size != 36:
                return BAD
            row.event, has_id = _uuid(data, at)
        elif number == 2:
            row.at, has_time = _seconds(data, at, stop)
        elif number == 3:
            if size != 36 or not _hex(data, at + 4, 16)[1]:
                return BAD
            group = at
        elif number == 4:
            row.person, is_reference = _reference(data, at, np.int64(size))
            if not is_reference:
                return BAD
        elif 0 <= kind < COUNT_KINDS and not has_kind:
            row.kind, has_kind = kind, _content(data, at, stop, kind, row, fields)
            if not has_kind:
                return BAD
        else:
            return BAD
        at = stop
    return group if has_id and has_time and has_kind else BAD


@njit(cache=True)
def _record(data, at, end, rows, count, names, fields):
    """Reads one record behind `count` rows; how many there are then, or BAD."""
    data_class, has_time, first = np.uint64(0), False, count
    while at < end:
        tag, at = _varint(data, at, end)
        if at == BAD:
            return BAD
        if tag == 0x10:
            data_class, at = _varint(data, at, end)
            if at == BAD:
                return BAD
            continue
        if tag != 0x0A and tag != 0x1A and tag != 0x22:
            return BAD
        size, at = _varint(data, at, end)
        if at == BAD or size > np.uint64(end - at):
            return BAD
        stop = at + np.int64(size)
        if tag == 0x1A:
            has_time = True
        elif tag == 0x22:
            if count - first == MAX_EVENTS:
                return BAD
            found = BAD
            while at < stop:
                inner, at = _varint(data, at, stop)
                if at == BAD:
                    return BAD
                if inner != 0x12:
                    at = _skip(data, at, stop, np.int64(inner & np.uint64(7)))
                    if at == BAD or inner > 0x22:
                        return BAD
                    continue
                size, at = _varint(data, at, stop)
                if at == BAD or size > np.uint64(stop - at) or found != BAD:
                    return BAD
                found = _event(data, at, at + np.int64(size), rows[count], fields)
                if found == BAD:
                    return BAD
                at += np.int64(size)
            if found == BAD:
                return BAD
            names[count] = found
            count += 1
        at = stop
    return count if has_time and 1 <= data_class <= 3 and count > first else BAD


@njit(cache=True)
def read(data, starts, tenants, rows, names, records, groups, places, usual, fields):
    """Reads records into `rows`; how many rows, and how many groups there are.

    Record r is `data[starts[r] : starts[r + 1]]` and of tenant `tenants[r]`; `usual[r]` becomes whether it
    was read. `names` gets where each row's group stands in `data`, `records` whose record it is, `groups`
    its place among the groups, `places` a row of each group.
    """
    count = 0
    for record in range(starts.shape[0] - 1):
        found = _record(data, starts[record], starts[record + 1], rows, count, names, fields)
        usual[record] = found != BAD
        if found != BAD:
            records[count:found] = record
            count = found
    size = 16
    while size < 2 * count:
        size *= 2
    slots, count_groups = np.full(size, -1, np.int32), 0
    for i in range(count):
        key = _hex(data, names[i] + 4, 16)[0]
        slot = np.int64(mixed(key, np.uint64(tenants[records[i]])) & np.uint64(size - 1))
        while True:
            known = slots[slot]
            if known < 0:
                slots[slot], places[count_groups], groups[i] = count_groups, i, count_groups
                count_groups += 1
                break
            other = places[known]
            if tenants[records[other]] == tenants[records[i]] and _same(data, names[other], names[i]):
                groups[i] = known
                break
            slot = (slot + 1) & (size - 1)
    return count, count_groups


@njit(cache=True)
def _same(data, one, other):
    for i in range(36):
        if data[one + i] != data[other + i]:
            return False
    return True
