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

THREAD, ACT, PARENT, CODE, TEXT, NUMBER = range(1, 7)
FIELDS = np.zeros((COUNT_KINDS, 8), np.uint8)
"""What is kept of each kind, by the number of its field: the first four, and not TEXT and NUMBER. What is not
named here is not known."""
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
    ("member_left", 1, NUMBER),
    ("session_held", 2, NUMBER),
    ("session_attended", 3, NUMBER),
    ("reaction_given", 1, TEXT),
    ("reaction_given", 2, NUMBER),
    ("thread_read", 1, TEXT),
    ("risk_raised", 1, TEXT),
    ("risk_raised", 2, NUMBER),
    ("risk_answered", 1, TEXT),
    ("risk_answered", 2, NUMBER),
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
def _tag(data, at, end):
    """Number and wire type of a field, and where its content begins; BAD where our tags are not so long."""
    tag, after = _varint(data, at, end)
    if after == BAD or after - at > 2:
        return 0, 0, BAD
    return np.int64(tag >> np.uint64(3)), np.int64(tag & np.uint64(7)), after


@njit(cache=True)
def _text(data, at, end):
    """Where a field of length and bytes has its bytes, and where it ends; BAD where it goes too far."""
    size, at = _varint(data, at, end)
    if at == BAD or size > np.uint64(end - at):
        return BAD, BAD
    return at, at + np.int64(size)


@njit(cache=True)
def _is_ascii(data, at, end):
    for i in range(at, end):
        if data[i] > 127:
            return False
    return True


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
def _reference(data, at, end):
    """A pseudonym's number, 0 for none; and whether it is one."""
    if at == end:
        return np.uint64(0), True
    if end - at != 36:
        return np.uint64(0), False
    number, is_hex = _hex(data, at + 4, 16)
    is_pseudonym = is_hex and _is_ascii(data, at, at + 4) and _is_ascii(data, at + 20, end)
    return max(number, np.uint64(1)), is_pseudonym


@njit(cache=True)
def _content(data, at, end, kind, row, fields):
    """What is kept of a kind; whether all of it was understood."""
    while at < end:
        number, wire, at = _tag(data, at, end)
        kept = fields[kind, number] if at != BAD and number < 8 else 0
        if kept == 0 or wire != (0 if kept in (CODE, NUMBER) else 2):
            return False
        if wire == 0:
            value, at = _varint(data, at, end)
            if at == BAD or (kept == CODE and value > 255):
                return False
            if kept == CODE:
                row.role = value
            continue
        at, stop = _text(data, at, end)
        if at == BAD:
            return False
        if kept == TEXT:
            if not _is_ascii(data, at, stop):
                return False
        else:
            value, is_reference = _reference(data, at, stop)
            if not is_reference:
                return False
            if kept == THREAD:
                row.thread = value
            elif kept == ACT:
                row.act = value
            else:
                row.parent = value
        at = stop
    return True


@njit(cache=True)
def _seconds(data, at, end):
    """Seconds of a Timestamp, and whether it was understood."""
    seconds = np.int64(0)
    while at < end:
        number, wire, at = _tag(data, at, end)
        if at == BAD or wire != 0 or not 1 <= number <= 2:
            return np.int64(0), False
        value, at = _varint(data, at, end)
        if at == BAD:
            return np.int64(0), False
        if number == 1:
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
        number, wire, at = _tag(data, at, end)
        if at == BAD or wire != 2:
            return BAD
        at, stop = _text(data, at, end)
        kind = number - FIRST_KIND
        is_understood = at != BAD
        if at == BAD:
            pass
        elif number == 1 and not has_id and stop - at == 36:
            row.event, is_understood = _uuid(data, at)
            has_id = True
        elif number == 2 and not has_time:
            row.at, is_understood = _seconds(data, at, stop)
            has_time = True
        elif number == 3 and group == BAD and stop - at == 36:
            is_understood = _reference(data, at, stop)[1]
            group = at
        elif number == 4:
            row.person, is_understood = _reference(data, at, stop)
        elif 0 <= kind < COUNT_KINDS and not has_kind:
            row.kind, has_kind = kind, True
            is_understood = _content(data, at, stop, kind, row, fields)
        else:
            is_understood = False
        if not is_understood:
            return BAD
        at = stop
    return group if has_id and has_time and has_kind else BAD


@njit(cache=True)
def _accepted(data, at, end, row, fields):
    """Fills a row from an event with what the gateway adds to it; as `_event`."""
    group = BAD
    while at < end:
        number, wire, at = _tag(data, at, end)
        if at == BAD:
            return BAD
        if number == 1 and wire == 1 and at + 8 <= end:
            at += 8
        elif number == 3 and wire == 0:
            at = _varint(data, at, end)[1]
        elif number == 4 and wire == 2:
            at = _text(data, at, end)[1]
        elif number == 2 and wire == 2 and group == BAD:
            at, stop = _text(data, at, end)
            group = _event(data, at, stop, row, fields) if at != BAD else BAD
            at = stop if group != BAD else BAD
        else:
            return BAD
        if at == BAD:
            return BAD
    return group


@njit(cache=True)
def _record(data, at, end, rows, count, names, fields):
    """Reads one record behind `count` rows; how many there are then, or BAD."""
    data_class, has_time, first = np.uint64(0), False, count
    while at < end:
        number, wire, at = _tag(data, at, end)
        if at == BAD:
            return BAD
        if number == 2 and wire == 0 and data_class == 0:
            data_class, at = _varint(data, at, end)
            if at == BAD:
                return BAD
            continue
        at, stop = _text(data, at, end)
        if at == BAD or wire != 2:
            return BAD
        if number == 1 and count == first:
            if not _is_ascii(data, at, stop):
                return BAD
        elif number == 3 and not has_time:
            has_time = _seconds(data, at, stop)[1]
            if not has_time:
                return BAD
        elif number == 4 and count - first < MAX_EVENTS:
            names[count] = _accepted(data, at, stop, rows[count], fields)
            if names[count] == BAD:
                return BAD
            count += 1
        else:
            return BAD
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
