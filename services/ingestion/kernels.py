"""The loops over bytes of `wire`, compiled to machine code by numba when first called; the result is kept
beside this file. Plain integers, arrays and tables only: nothing here knows the contract.

Tables are by field number; those of a kind by its number and its fields'. Offsets are into the request.
"""

from __future__ import annotations

import numpy as np
from numba import njit

MAX_FIELD = 32
MAX_REFS = 6
MAX_REFERENCE_BYTES = 64
PSEUDONYM_BYTES = 36
ID_BYTES = 36

# What a field is.
NOTHING, EVENT_ID, TIME, REFERENCE, CODE, NUMBER, KIND = range(7)

# Of XXH64.
PRIME_1, PRIME_2 = np.uint64(11400714785074694791), np.uint64(14029467366897019727)
PRIME_3, PRIME_4 = np.uint64(1609587929392839161), np.uint64(9650029242287828579)
PRIME_5 = np.uint64(2870177450012600261)

# Columns of `places`: where an event and its parts lie.
START, END, ID, BODY_START, BODY_END, COUNT_REFS, PARTITION_REF, DIFFERENT, NEW_BODY, NEW_SIZE = range(10)


@njit(cache=True)
def varint(data, position, end):
    """A varint of at most five bytes, and of no more than it needs: its value and where it ends; else -1."""
    value = np.int64(0)
    shift = 0
    while position < end and shift < 35:
        octet = data[position]
        value |= np.int64(octet & 0x7F) << shift
        position += 1
        if octet < 0x80:
            return (value if octet or not shift else np.int64(-1)), position
        shift += 7
    return np.int64(-1), position


@njit(cache=True)
def is_uuid(data, position):
    for i in range(36):
        octet = data[position + i]
        if i in (8, 13, 18, 23):
            if octet != 45:
                return False
        elif not (48 <= octet <= 57 or 97 <= octet <= 102):
            return False
    return True


@njit(cache=True)
def scan(
    data, has_sequence, events_tag, roles, details, is_required, kind_roles, kind_details, kind_is_required,
    needs_participant, must_differ, partition_field, earliest, latest, places, refs, is_good,
):  # fmt: skip
    """Counts the events, marks the good ones, and notes where their parts lie. -1: another shape."""
    position, end = 0, len(data)
    sequence = np.int64(0)
    if has_sequence:
        if end < 2 or data[0] != 8:
            return -1, sequence, 0
        sequence, position = varint(data, 1, end)
        if sequence < 0:
            return -1, sequence, 0
    count = 0
    count_refs = 0
    while position < end:
        if data[position] != events_tag or count == len(places):
            return -1, sequence, 0
        length, start = varint(data, position + 1, end)
        if length < 0 or start + length > end:
            return -1, sequence, 0
        position = start + length
        place = places[count]
        place[START], place[END] = start, position
        place[PARTITION_REF] = -1
        place[DIFFERENT] = -1
        first_ref = count_refs
        is_good[count], count_refs = scan_event(
            data, start, position, roles, details, is_required, kind_roles, kind_details, kind_is_required,
            needs_participant, must_differ, partition_field, earliest, latest, place, refs, count_refs,
        )  # fmt: skip
        if is_good[count]:
            place[COUNT_REFS] = count_refs - first_ref
        else:
            count_refs = first_ref
        count += 1
    return count, sequence, count_refs


@njit(cache=True)
def scan_event(
    data, position, end, roles, details, is_required, kind_roles, kind_details, kind_is_required,
    needs_participant, must_differ, partition_field, earliest, latest, place, refs, count_refs,
):  # fmt: skip
    """Whether the event keeps every rule, its references apart; and how many of those are noted by now."""
    last = 0
    seen = np.int64(0)
    kind = 0
    first_ref = count_refs
    while position < end:
        tag, position = varint(data, position, end)
        number = tag >> 3
        if tag < 0 or number <= last or number >= 32 or tag & 7 != 2 or kind:
            return 0, count_refs
        length, position = varint(data, position, end)
        stop = position + length
        if length < 0 or stop > end:
            return 0, count_refs
        role = roles[number]
        if role == EVENT_ID:
            if length != 36 or not is_uuid(data, position):
                return 0, count_refs
            place[ID] = position
        elif role == TIME:
            if not is_time(data, position, stop, earliest, latest):
                return 0, count_refs
        elif role == REFERENCE:
            if length == 0 or length > 64 or count_refs - first_ref == 6:
                return 0, count_refs
            if number == partition_field:
                place[PARTITION_REF] = count_refs
            refs[count_refs, 0], refs[count_refs, 1], refs[count_refs, 2] = position, length, details[number]
            count_refs += 1
        elif role == KIND:
            kind = number
            place[BODY_START], place[BODY_END] = position, stop
            is_right, count_refs = scan_kind(
                data, position, stop, kind_roles[number], kind_details[number], kind_is_required[number],
                refs, count_refs, first_ref,
            )  # fmt: skip
            if not is_right:
                return 0, count_refs
        else:
            return 0, count_refs
        seen |= np.int64(1) << number
        last = number
        position = stop
    if not kind or place[PARTITION_REF] < 0:
        return 0, count_refs
    for number in range(32):
        if is_required[number] and roles[number] != 0 and not seen >> number & 1:
            return 0, count_refs
    if needs_participant[kind] and not seen >> needs_participant[kind] & 1:
        return 0, count_refs
    if must_differ[kind]:
        place[DIFFERENT] = count_refs - 2
    return 1, count_refs


@njit(cache=True)
def scan_kind(data, position, end, roles, details, is_required, refs, count_refs, first_ref):
    last = 0
    seen = np.int64(0)
    while position < end:
        tag, position = varint(data, position, end)
        number = tag >> 3
        if tag < 0 or number <= last or number >= 32:
            return False, count_refs
        role = roles[number]
        value, position = varint(data, position, end)
        if value < 0 or (tag & 7 != 2) != (role != REFERENCE):
            return False, count_refs
        if role == REFERENCE:
            if value == 0 or value > 64 or position + value > end or count_refs - first_ref == 6:
                return False, count_refs
            refs[count_refs, 0], refs[count_refs, 1], refs[count_refs, 2] = position, value, details[number]
            count_refs += 1
            position += value
        elif tag & 7 != 0 or value == 0:  # a zero is not on the wire
            return False, count_refs
        elif role == CODE:
            if value > 62 or not details[number] >> value & 1:
                return False, count_refs
        elif role != NUMBER or value > details[number]:
            return False, count_refs
        seen |= np.int64(1) << number
        last = number
    for number in range(32):
        if is_required[number] and not seen >> number & 1:
            return False, count_refs
    return True, count_refs


@njit(cache=True)
def is_time(data, position, end, earliest, latest):
    """Seconds, and a part of a second or none."""
    if position >= end or data[position] != 8:
        return False
    seconds, position = varint(data, position + 1, end)
    if seconds < earliest or seconds > latest or seconds <= 0:
        return False
    if position < end:
        if data[position] != 16:
            return False
        nanos, position = varint(data, position + 1, end)
        if nanos <= 0 or nanos > 999_999_999:
            return False
    return position == end


@njit(cache=True)
def hash_of(data, position, length, thing):
    """FNV-1a."""
    value = np.uint64(14695981039346656037) ^ np.uint64(thing)
    for i in range(length):
        value = (value ^ np.uint64(data[position + i])) * np.uint64(1099511628211)
    return value ^ (value >> np.uint64(29))


@njit(cache=True)
def find(data, references, slots, texts, lengths, rows):
    """The row of each reference; -2 where it is not known. Returns how many are not."""
    mask = np.uint64(len(slots) - 1)
    count_unknown = 0
    for i in range(len(references)):
        position, length, thing = references[i, 0], references[i, 1], references[i, 2]
        slot = hash_of(data, position, length, thing) & mask
        rows[i] = -2
        while slots[slot] >= 0:
            row = slots[slot]
            if lengths[row] == length * 5 + thing:
                same = True
                for k in range(length):
                    if texts[row, k] != data[position + k]:
                        same = False
                        break
                if same:
                    rows[i] = row
                    break
            slot = (slot + np.uint64(1)) & mask
        if rows[i] == -2:
            count_unknown += 1
    return count_unknown


@njit(cache=True)
def insert(slots, texts, lengths, first, end):
    """Rows from `first` to `end` into the hash table."""
    mask = np.uint64(len(slots) - 1)
    for row in range(first, end):
        slot = hash_of(texts[row], 0, lengths[row] // 5, lengths[row] % 5) & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = row


@njit(cache=True)
def settle(places, rows, is_good):
    """Takes the mark from events with a text that is no reference, or two that must differ and do not."""
    first = 0
    for i in range(len(places)):
        place = places[i]
        if not is_good[i]:
            continue
        for k in range(first, first + place[COUNT_REFS]):
            if rows[k] < 0:
                is_good[i] = 0
        if place[DIFFERENT] >= 0 and rows[place[DIFFERENT]] == rows[place[DIFFERENT] + 1]:
            is_good[i] = 0
        place[NEW_BODY] = first
        first += place[COUNT_REFS]


@njit(cache=True)
def size_of_varint(value):
    size = 1
    while value > 0x7F:
        value >>= 7
        size += 1
    return size


@njit(cache=True)
def put_varint(out, position, value):
    while value > 0x7F:
        out[position] = value & 0x7F | 0x80
        value >>= 7
        position += 1
    out[position] = value
    return position + 1


@njit(cache=True)
def new_sizes(place, refs):
    """Size of the kind's message, and of the whole event, with pseudonyms."""
    body = place[BODY_END] - place[BODY_START]
    size = place[END] - place[START]
    first = place[NEW_BODY]
    for k in range(first, first + place[COUNT_REFS]):
        more = 36 - refs[k, 1]
        size += more
        if refs[k, 0] > place[BODY_START]:
            body += more
    old = place[BODY_END] - place[BODY_START]
    return body, size + size_of_varint(body) - size_of_varint(old)


@njit(cache=True)
def measure(places, refs, rows, partitions, good, counts, ends):
    """Events by partition, and where each partition ends in the output; returns its whole size."""
    for i in good:
        place = places[i]
        _, size = new_sizes(place, refs)
        accepted = 9 + 1 + size_of_varint(size) + size
        place[NEW_SIZE] = size
        partition = partitions[rows[place[PARTITION_REF]]]
        counts[partition] += 1
        ends[partition] += 1 + size_of_varint(accepted) + accepted
    total = 0
    for partition in range(len(ends)):
        total += ends[partition]
        ends[partition] = total
    return total


@njit(cache=True)
def write(data, places, refs, rows, pseudonyms, partitions, good, tag, starts, out, hashes):
    """Each event as an entry of its partition, with the hash of its bytes before them."""
    for n in range(len(good)):
        place = places[good[n]]
        partition = partitions[rows[place[PARTITION_REF]]]
        at = starts[partition]
        size = place[NEW_SIZE]
        out[at] = tag
        at = put_varint(out, at + 1, 10 + size_of_varint(size) + size)
        out[at] = 9
        hash_at = at + 1
        out[at + 9] = 18
        body = put_varint(out, at + 10, size)
        at = write_event(data, place, refs, rows, pseudonyms, out, body)
        value = xxh64(out, body, at)
        hashes[n] = value
        for octet in range(8):
            out[hash_at + octet] = value & np.uint64(0xFF)
            value >>= np.uint64(8)
        starts[partition] = at


@njit(cache=True)
def write_event(data, place, refs, rows, pseudonyms, out, at):
    """Copies the event; a reference's length and text, and its kind's length, are replaced."""
    position = place[START]
    body, _ = new_sizes(place, refs)
    body_length_at = place[BODY_START] - size_of_varint(place[BODY_END] - place[BODY_START])
    is_body_written = False
    first = place[NEW_BODY]
    for k in range(first, first + place[COUNT_REFS] + 1):
        is_last = k == first + place[COUNT_REFS]
        stop = place[END] if is_last else refs[k, 0] - 1  # a reference's length is one byte
        if not is_body_written and body_length_at <= stop:
            while position < body_length_at:
                out[at] = data[position]
                at += 1
                position += 1
            at = put_varint(out, at, body)
            position = place[BODY_START]
            is_body_written = True
        while position < stop:
            out[at] = data[position]
            at += 1
            position += 1
        if not is_last:
            out[at] = 36
            at += 1
            row = rows[k]
            for octet in range(36):
                out[at + octet] = pseudonyms[row, octet]
            at += 36
            position = refs[k, 0] + refs[k, 1]
    return at


@njit(cache=True)
def rotate(value, bits):
    return value << np.uint64(bits) | value >> np.uint64(64 - bits)


@njit(cache=True)
def read_64(data, position):
    value = np.uint64(0)
    for k in range(8):
        value |= np.uint64(data[position + k]) << np.uint64(8 * k)
    return value


@njit(cache=True)
def xxh64_round(lane, value):
    return rotate(lane + value * PRIME_2, 31) * PRIME_1


@njit(cache=True)
def xxh64(data, position, end):
    """XXH64 with seed 0, as the library `xxhash` has it."""
    length = np.uint64(end - position)
    if end - position >= 32:
        zero = np.uint64(0)
        a, b, c, d = PRIME_1 + PRIME_2, PRIME_2, zero, zero - PRIME_1
        while end - position >= 32:
            a = xxh64_round(a, read_64(data, position))
            b = xxh64_round(b, read_64(data, position + 8))
            c = xxh64_round(c, read_64(data, position + 16))
            d = xxh64_round(d, read_64(data, position + 24))
            position += 32
        value = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18)
        for lane in (a, b, c, d):
            value = (value ^ xxh64_round(zero, lane)) * PRIME_1 + PRIME_4
    else:
        value = PRIME_5
    value += length
    while end - position >= 8:
        value = rotate(value ^ xxh64_round(np.uint64(0), read_64(data, position)), 27) * PRIME_1 + PRIME_4
        position += 8
    if end - position >= 4:
        part = np.uint64(0)
        for k in range(4):
            part |= np.uint64(data[position + k]) << np.uint64(8 * k)
        value = rotate(value ^ part * PRIME_1, 23) * PRIME_2 + PRIME_3
        position += 4
    while position < end:
        value = rotate(value ^ np.uint64(data[position]) * PRIME_5, 11) * PRIME_1
        position += 1
    value = (value ^ value >> np.uint64(33)) * PRIME_2
    value = (value ^ value >> np.uint64(29)) * PRIME_3
    return value ^ value >> np.uint64(32)
