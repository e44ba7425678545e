"""The loops over bytes of `wire`, `recent` and `responses`, compiled to machine code by numba when first
called; the result is kept beside this file. Integers, arrays and tables: nothing here knows the contract.

One file, because numba renews what it keeps when this file changes, and does not look at others. Inner loops
count with unsigned numbers: of a signed index numba asks each time whether it is negative, and then neither
unrolls nor vectorises (four times slower). From top to bottom: numbers on the wire, hashes, the two memories,
reading a request, writing what becomes of it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

MAX_FIELD = 32
MAX_REFS = 6
MAX_REFERENCE_BYTES = 64
PSEUDONYM_BYTES = 36
PREFIX_BYTES = 4
ID_BYTES = 36
MAX_CODE = 62
MAX_NANOS = 999_999_999

VARINT, EIGHT_BYTES, LENGTH_FIRST, GROUP_START, GROUP_END, FOUR_BYTES = range(6)
"""Wire types."""

SEQUENCE_TAG = 1 << 3 | VARINT
"""Stream…Request.sequence."""

# What a field is.
NOTHING, EVENT_ID, TIME, REFERENCE, CODE, NUMBER, KIND = range(7)

# Columns of tables by field: what it is; of a reference its kind of thing, of a code a bit per allowed
# number, of a number the largest.
ROLE, DETAIL = range(2)

# Columns of the table by kind: fields that must be there, a bit each, of the event and of the kind's message;
# whether its last two references must differ.
EVENT_NEEDS, KIND_NEEDS, MUST_DIFFER = range(3)

# Columns of `places`: where an event and its kind's message lie; its kind, or 0 when it breaks a rule; its
# references; where it goes, and its size and its kind's with pseudonyms.
START, END, BODY_START, BODY_END, KIND_NUMBER, FIRST_REF, COUNT_REFS, PARTITION, SIZE, BODY_SIZE = range(10)
PLACE_COLUMNS = 10

# Columns of `refs`: where a reference lies, its kind of thing, which field of the event it is or 0, and where
# its row begins.
AT, LENGTH, THING, FIELD, ROW = range(5)
REF_COLUMNS = 5

# Columns of `parts`, which is by partition: events, and where they end in the output.
COUNT, PART_END = range(2)

# Bytes of a row of the memory of references.
ROW_PSEUDONYM = MAX_REFERENCE_BYTES
ROW_LENGTH = ROW_PSEUDONYM + PSEUDONYM_BYTES
ROW_THING = ROW_LENGTH + 1
ROW_CRC = ROW_THING + 1
CRC_BYTES = 4
ROW_BYTES = ROW_CRC + CRC_BYTES

# Columns of events that Kafka has had, or will: where it was in its request, or in the memory of events whose
# tenant's number it is; both halves of its id; its body's hash.
INDEX, HIGH, LOW, HASH = range(4)
WHO = INDEX
EVENT_COLUMNS = 4

NO_REFERENCE, NO_ROOM = -1, -2
OTHER_SHAPE = -1

TAG_BODY_HASH, TAG_EVENT = 1 << 3 | EIGHT_BYTES, 2 << 3 | LENGTH_FIRST
"""Accepted….body_hash, eight bytes, and Accepted….event."""

BODY_HASH_BYTES = 9
"""With its tag."""

TAG_RESULT, TAG_RESULT_INDEX, TAG_RESULT_ID = 1 << 3 | LENGTH_FIRST, 1 << 3, 2 << 3 | LENGTH_FIRST
TAG_RESULT_STATUS = 3 << 3
"""Post…Response.results, EventResult.index, .event_id and .status."""

MAX_RESULT_BYTES = 2 + 6 + 2 + ID_BYTES + 2

HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
DIGIT_OF = np.full(256, 255, np.uint64)
DIGIT_OF[HEX] = np.arange(16)
"""Of a small letter or digit; 255: it is none."""

ID_HYPHENS = np.array([8, 13, 18, 23], np.uint64)
ID_DIGITS = np.setdiff1d(np.arange(ID_BYTES, dtype=np.uint64), ID_HYPHENS)
"""Where they are in a UUID."""

ZERO = np.uint64(0)


# Numbers on the wire --------------------------------------------------------------------------------------


@njit(cache=True)
def varint(data, position, end):
    """A varint of at most five bytes, and of no more than it needs: its value and where it ends; else -1."""
    value = np.int64(0)
    shift = 0
    while position < end and shift < 35:
        octet = data[np.uint64(position)]
        value |= np.int64(octet & 0x7F) << shift
        position += 1
        if octet < 0x80:
            return (value if octet or not shift else np.int64(-1)), position
        shift += 7
    return np.int64(-1), position


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
def read_word(data, position):
    """Eight bytes, lowest first."""
    value, start = ZERO, np.uint64(position)
    for k in range(8):
        value |= np.uint64(data[start + np.uint64(k)]) << np.uint64(8 * k)
    return value


@njit(cache=True)
def read_part(data, position, count):
    """The same of less than eight bytes; at once where eight are there, because loops are foretold badly."""
    if position + 8 <= len(data):
        return read_word(data, position) & (np.uint64(1) << np.uint64(8 * count)) - np.uint64(1)
    value, start = ZERO, np.uint64(position)
    for k in range(count):
        value |= np.uint64(data[start + np.uint64(k)]) << np.uint64(8 * k)
    return value


@njit(cache=True)
def put_hex(value, out, position):
    """Eight bytes, lowest first, as sixteen digits."""
    at = np.uint64(position)
    for k in range(8):
        octet = value >> np.uint64(8 * k) & np.uint64(0xFF)
        out[at], out[at + np.uint64(1)] = HEX[octet >> np.uint64(4)], HEX[octet & np.uint64(15)]
        at += np.uint64(2)


# Hashes ---------------------------------------------------------------------------------------------------

PRIME_1, PRIME_2 = np.uint64(11400714785074694791), np.uint64(14029467366897019727)
PRIME_3, PRIME_4 = np.uint64(1609587929392839161), np.uint64(9650029242287828579)
PRIME_5 = np.uint64(2870177450012600261)

BLAKE2B_START = np.array(
    [
        *(0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1),
        *(0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179),
    ],
    np.uint64,
)
BLAKE2B_ORDERS = np.array(
    [
        (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
        (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
        (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
        (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
        (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
        (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
        (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
        (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
        (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
        (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
    ],
    np.uint8,
)
BLAKE2B_ROUNDS = 12
"""The first orders come again in the last two."""

BLAKE2B_BLOCK_BYTES = 128
DIGEST_BYTES = 16


def _crc_table():
    table = np.arange(256, dtype=np.uint64)
    for _ in range(8):
        table = table >> 1 ^ 0xEDB88320 * (table & 1)
    return table


CRC_TABLE = _crc_table()
ALL_32 = np.uint64(0xFFFFFFFF)


@njit(cache=True)
def quick_hash(data, position, length, start):
    """For a hash table of ours: eight bytes at a time, each mixed downwards. With a secret start nobody
    can make texts that share a slot.
    """
    value = np.uint64(start) + np.uint64(length) * PRIME_5
    while length >= 8:
        value = (value ^ read_word(data, position)) * PRIME_1
        value ^= value >> np.uint64(32)
        position += 8
        length -= 8
    value = (value ^ read_part(data, position, length)) * PRIME_1
    return value ^ value >> np.uint64(32)


@njit(cache=True)
def crc32(data, position, length, before):
    """Goes on from `before`, the CRC-32 of what stands in front."""
    value = np.uint64(before) ^ ALL_32
    for k in range(length):
        value = CRC_TABLE[(value ^ np.uint64(data[position + k])) & np.uint64(0xFF)] ^ value >> np.uint64(8)
    return value ^ ALL_32


@njit(cache=True)
def rotate(value, bits):
    return value << np.uint64(bits) | value >> np.uint64(64 - bits)


@njit(cache=True)
def xxh64_round(lane, value):
    return rotate(lane + value * PRIME_2, 31) * PRIME_1


@njit(cache=True)
def xxh64(data, position, end):
    """XXH64 with seed 0, as the library `xxhash` has it."""
    length = np.uint64(end - position)
    if end - position >= 32:
        a, b, c, d = PRIME_1 + PRIME_2, PRIME_2, ZERO, ZERO - PRIME_1
        while end - position >= 32:
            a = xxh64_round(a, read_word(data, position))
            b = xxh64_round(b, read_word(data, position + 8))
            c = xxh64_round(c, read_word(data, position + 16))
            d = xxh64_round(d, read_word(data, position + 24))
            position += 32
        value = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18)
        for lane in (a, b, c, d):
            value = (value ^ xxh64_round(ZERO, lane)) * PRIME_1 + PRIME_4
    else:
        value = PRIME_5
    value += length
    while end - position >= 8:
        word = xxh64_round(ZERO, read_word(data, position))
        value = rotate(value ^ word, 27) * PRIME_1 + PRIME_4
        position += 8
    if end - position >= 4:
        value = rotate(value ^ read_part(data, position, 4) * PRIME_1, 23) * PRIME_2 + PRIME_3
        position += 4
    while position < end:
        value = rotate(value ^ np.uint64(data[position]) * PRIME_5, 11) * PRIME_1
        position += 1
    value = (value ^ value >> np.uint64(33)) * PRIME_2
    value = (value ^ value >> np.uint64(29)) * PRIME_3
    return value ^ value >> np.uint64(32)


@njit(cache=True)
def mix(v, a, b, c, d, x, y):
    v[a] = v[a] + v[b] + x
    v[d] = rotate(v[d] ^ v[a], 32)
    v[c] = v[c] + v[d]
    v[b] = rotate(v[b] ^ v[c], 40)
    v[a] = v[a] + v[b] + y
    v[d] = rotate(v[d] ^ v[a], 48)
    v[c] = v[c] + v[d]
    v[b] = rotate(v[b] ^ v[c], 1)


@njit(cache=True)
def compress(state, words, count, is_last):
    """One block of BLAKE2b (RFC 7693) into `state`; `count`: bytes so far, this block's among them."""
    v = np.empty(16, np.uint64)
    for k in range(8):
        v[k], v[k + 8] = state[k], BLAKE2B_START[k]
    v[12] ^= np.uint64(count)
    if is_last:
        v[14] = ~v[14]
    for number in range(BLAKE2B_ROUNDS):
        order = BLAKE2B_ORDERS[number % len(BLAKE2B_ORDERS)]
        for k in range(4):
            mix(v, k, k + 4, k + 8, k + 12, words[order[2 * k]], words[order[2 * k + 1]])
        for k in range(4):
            x, y = words[order[2 * k + 8]], words[order[2 * k + 9]]
            mix(v, k, (k + 1) % 4 + 4, (k + 2) % 4 + 8, (k + 3) % 4 + 12, x, y)
    for k in range(8):
        state[k] ^= v[k] ^ v[k + 8]


@njit(cache=True)
def block(data, position, length):
    """At most 128 bytes as the words of a block, filled up with zeros."""
    words = np.zeros(16, np.uint64)
    for k in range(length):
        words[k // 8] |= np.uint64(data[position + k]) << np.uint64(8 * (k % 8))
    return words


@njit(cache=True)
def keyed_state(key, state):
    """BLAKE2b's state when it has read a key and nothing else."""
    for k in range(8):
        state[k] = BLAKE2B_START[k]
    state[0] ^= np.uint64(0x01010000 ^ len(key) << 8 ^ DIGEST_BYTES)
    compress(state, block(key, 0, len(key)), BLAKE2B_BLOCK_BYTES, False)


@njit(cache=True)
def put_digest(data, position, length, keyed, out, at):
    """The keyed digest of at most a block as 32 hexadecimal digits."""
    state = keyed.copy()
    compress(state, block(data, position, length), BLAKE2B_BLOCK_BYTES + length, True)
    put_hex(state[0], out, at)
    put_hex(state[1], out, at + DIGEST_BYTES)


# The memory of events -------------------------------------------------------------------------------------
# An open hash table; a row whose WHO is 0 is free. WHO is secret, so that nobody makes ids that share a row.


@njit(cache=True)
def first_place_of(table, who, high, low):
    slot = xxh64_round(xxh64_round(who, high), low)
    return (slot ^ slot >> np.uint64(32)) & np.uint64(len(table) - 1)


@njit(cache=True)
def place_of(table, who, high, low):
    """The row of an event, or the free one where it belongs."""
    mask = np.uint64(len(table) - 1)
    slot = first_place_of(table, who, high, low)
    while table[slot, WHO] and not (
        table[slot, LOW] == low and table[slot, HIGH] == high and table[slot, WHO] == who
    ):
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(cache=True)
def is_in(table, who, high, low):
    return table[place_of(table, who, high, low), WHO] != 0


@njit(cache=True)
def remember(table, who, events):
    """Puts a tenant's events in, over what is there of the same id. Returns how many are new."""
    count = 0
    for i in range(len(events)):
        row = table[place_of(table, who, events[i, HIGH], events[i, LOW])]
        count += row[WHO] == 0
        row[WHO], row[HIGH], row[LOW], row[HASH] = who, events[i, HIGH], events[i, LOW], events[i, HASH]
    return count


# The memory of references ---------------------------------------------------------------------------------
# Rows of text, pseudonym, length, kind of thing, and the CRC of tenant and pseudonym, which tells partitions;
# one after the other in one array, because numba counts who holds a part of an array whenever one is taken.
# `slots` is an open hash table of their numbers.


@njit(cache=True)
def is_plain_reference(data, position, length):
    """Whether a text keeps the rule of references for sure. What looks like an address or phrase does not."""
    if length == 0 or length > MAX_REFERENCE_BYTES or not is_alphanumeric(data[position]):
        return False
    count_separators = 0
    has_digit = False
    first_point = last_point = -1
    for k in range(length):
        octet = data[position + k]
        if not is_alphanumeric(octet):
            if octet == 46 or octet == 58:  # . :
                first_point = k if first_point < 0 else first_point
                last_point = k
            elif octet != 45 and octet != 95:  # - _
                return False
            count_separators += 1
        elif octet < 65:
            has_digit = True
    if count_separators > 3 and not has_digit:
        return False
    return first_point < 0 or not (
        is_scheme(data, position, first_point)
        or is_word(data, position + last_point + 1, length - last_point - 1, 2, 4)
    )


@njit(cache=True)
def is_alphanumeric(octet):
    return 48 <= octet <= 57 or 65 <= octet <= 90 or 97 <= octet <= 122


@njit(cache=True)
def is_scheme(data, position, length):
    """Whether it could be http, https, www, mailto or tel."""
    first = data[position] | 32
    return first in (104, 119, 109, 116) and is_word(data, position, length, 3, 6)


@njit(cache=True)
def is_word(data, position, length, least, most):
    """Whether it is so many letters."""
    if not least <= length <= most:
        return False
    for k in range(length):
        if data[position + k] < 65:
            return False
    return True


@njit(cache=True)
def first_slot_of(data, position, length, thing, slots, seed):
    return quick_hash(data, position, length, seed + thing) & np.uint64(len(slots) - 1)


@njit(cache=True)
def slot_of(data, position, length, thing, slots, rows, seed):
    """The slot of a reference, or the free one where it belongs."""
    mask = np.uint64(len(slots) - 1)
    slot = first_slot_of(data, position, length, thing, slots, seed)
    while slots[slot] >= 0:
        at = np.int64(slots[slot]) * ROW_BYTES
        is_like = rows[at + ROW_LENGTH] == length and rows[at + ROW_THING] == thing
        if is_like and is_same(rows, at, data, position, length):
            break
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(cache=True)
def is_same(rows, at, data, position, length):
    """A row's text is filled up with zeros."""
    k = 0
    while length - k >= 8:
        if read_word(rows, at + k) != read_word(data, position + k):
            return False
        k += 8
    return k == length or read_part(data, position + k, length - k) == read_word(rows, at + k)


@njit(cache=True)
def fill_row(rows, at, data, position, length, thing, prefixes, keyed, crc_start):
    for k in range(MAX_REFERENCE_BYTES):
        rows[at + k] = data[position + k] if k < length else 0
    rows[at + ROW_LENGTH], rows[at + ROW_THING] = length, thing
    pseudonym = at + ROW_PSEUDONYM
    for k in range(PREFIX_BYTES):
        rows[pseudonym + k] = prefixes[thing, k]
    put_digest(data, position, length, keyed[thing], rows, pseudonym + PREFIX_BYTES)
    value = crc32(rows, pseudonym, PSEUDONYM_BYTES, crc_start)
    for k in range(CRC_BYTES):
        rows[at + ROW_CRC + k] = value >> np.uint64(8 * k) & np.uint64(0xFF)


@njit(cache=True)
def insert(slots, rows, seed, count):
    """The first `count` rows into the hash table."""
    mask = np.uint64(len(slots) - 1)
    for number in range(count):
        at = number * ROW_BYTES
        length, thing = np.int64(rows[at + ROW_LENGTH]), np.int64(rows[at + ROW_THING])
        slot = first_slot_of(rows, at, length, thing, slots, seed)
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = number


# Reading a request ----------------------------------------------------------------------------------------


@njit(cache=True)
def read(
    data, has_sequence, events_tag, fields, kinds, kind_fields, partition_field, earliest, latest,
    who, newer, older, slots, rows, seed, used, prefixes, keyed, crc_start,
    places, refs, ids, is_good, parts,
):  # fmt: skip
    """Notes of each event whether it is good, and of a good one where it lies and what is in it.

    Returns the sequence, how many events there are, or OTHER_SHAPE or NO_ROOM, and how many good ones.
    """
    sequence, count, count_refs = read_events(
        data, has_sequence, events_tag, fields, kinds, kind_fields, earliest, latest, places, refs, ids
    )
    parts[:] = 0
    if count < 0:
        return sequence, count, 0
    who = np.uint64(who)
    look_ahead(data, refs, count_refs, slots, rows, seed, who, newer, older, ids, count, places)
    count_good = 0
    for i in range(count):
        kind = places[i, KIND_NUMBER]
        is_good[i] = 0
        if not kind:
            continue
        where = (data, places, i, refs, partition_field, len(parts), slots, rows, seed)
        is_found = find_references(*where)
        if not is_found:
            made = make_references(data, places, i, refs, slots, rows, seed, used, prefixes, keyed, crc_start)
            if made == NO_ROOM:
                return sequence, NO_ROOM, 0
            is_found = made != NO_REFERENCE and find_references(*where)
        high, low = ids[i, 0], ids[i, 1]
        if (
            is_found
            and is_addressable(places, i, refs, kinds[kind, MUST_DIFFER])
            and not is_in(newer, who, high, low)
            and not is_in(older, who, high, low)
        ):
            is_good[i] = 1
            count_good += 1
            measure(places, i, refs, parts)
    for partition in range(1, len(parts)):
        parts[partition, PART_END] += parts[partition - 1, PART_END]
    return sequence, count, count_good


@njit(cache=True)
def read_events(
    data, has_sequence, events_tag, fields, kinds, kind_fields, earliest, latest, places, refs, ids
):  # fmt: skip
    """Notes where events and references lie. Returns the sequence and how many of both, or OTHER_SHAPE."""
    position, end = 0, len(data)
    sequence = np.int64(0)
    count = count_refs = 0
    if has_sequence:
        if end < 2 or data[0] != SEQUENCE_TAG:
            return sequence, OTHER_SHAPE, 0
        sequence, position = varint(data, 1, end)
        if sequence < 0:
            return sequence, OTHER_SHAPE, 0
    while position < end:
        if data[position] != events_tag or count == len(places):
            return sequence, OTHER_SHAPE, 0
        length, start = varint(data, position + 1, end)
        if length < 0 or start + length > end:
            return sequence, OTHER_SHAPE, 0
        position = start + length
        places[count, START], places[count, END], places[count, FIRST_REF] = start, position, count_refs
        kind = read_event(data, fields, kinds, kind_fields, earliest, latest, places, count, refs, ids)
        places[count, KIND_NUMBER] = kind
        count_refs += places[count, COUNT_REFS] if kind else 0
        count += 1
    return sequence, count, count_refs


@njit(cache=True)
def look_ahead(data, refs, count_refs, slots, rows, seed, who, newer, older, ids, count, places):
    """Fetches what will be looked up and is far from the processor: many at a time, as nothing hangs on it.

    One after the other, in the middle of other work, each would be waited for. It is put where the next step
    puts something else, because a compiler leaves out what nobody uses.
    """
    for k in range(count_refs):
        slot = first_slot_of(data, refs[k, AT], refs[k, LENGTH], refs[k, THING], slots, seed)
        refs[k, ROW] = slots[slot]
    for k in range(count_refs):
        if refs[k, ROW] >= 0:
            refs[k, ROW] = rows[np.int64(refs[k, ROW]) * ROW_BYTES + ROW_LENGTH]
    for i in range(count):
        slot = first_place_of(newer, who, ids[i, 0], ids[i, 1])
        places[i, PARTITION] = (newer[slot, WHO] != 0) + (older[slot, WHO] != 0)


@njit(cache=True)
def split(data, has_sequence, events_tag, places):
    """Where the events of a request of any shape lie, as protobuf would find them, and its sequence.

    Returns the sequence and how many events there are, beyond the last of `places` too, or OTHER_SHAPE.
    """
    position, end, depth = 0, len(data), 0
    sequence = ZERO
    count = 0
    while position < end:
        tag, position = long_varint(data, position, end)
        value, start = ZERO, position
        kind = np.int64(tag & np.uint64(7))
        if kind in (VARINT, LENGTH_FIRST):
            value, start = long_varint(data, position, end)
        if kind == LENGTH_FIRST:
            if start < 0 or value > np.uint64(end - start):
                return sequence, OTHER_SHAPE
            position = start + np.int64(value)
        else:
            position = start + (8 if kind == EIGHT_BYTES else 4 if kind == FOUR_BYTES else 0)
        depth += (kind == GROUP_START) - (kind == GROUP_END)
        if start < 0 or position > end or depth < 0 or kind > FOUR_BYTES or tag < 8:
            return sequence, OTHER_SHAPE
        if depth == 0 and tag == events_tag:
            if count < len(places):
                places[count, START], places[count, END] = start, position
            count += 1
        elif depth == 0 and has_sequence and tag == SEQUENCE_TAG:
            sequence = value
    return sequence, count if depth == 0 else OTHER_SHAPE


@njit(cache=True)
def long_varint(data, position, end):
    """A varint of up to ten bytes; where it ends is -1 when it does not."""
    value = ZERO
    for k in range(10):
        if position < 0 or position + k >= end:
            return value, -1
        octet = np.uint64(data[np.uint64(position + k)])
        value |= (octet & np.uint64(0x7F)) << np.uint64(7 * k)
        if octet < 0x80:
            return value, position + k + 1
    return value, -1


@njit(cache=True)
def read_event(data, fields, kinds, kind_fields, earliest, latest, places, i, refs, ids):
    """The event's kind, when it keeps every rule, its references apart; else 0."""
    position, end = places[i, START], places[i, END]
    last = kind = 0
    seen = np.int64(0)
    places[i, COUNT_REFS] = 0
    while position < end:
        tag, position = varint(data, position, end)
        number = tag >> 3
        if tag < 0 or number <= last or number >= MAX_FIELD or tag & 7 != LENGTH_FIRST or kind:
            return 0
        length, position = varint(data, position, end)
        stop = position + length
        if length < 0 or stop > end:
            return 0
        role = fields[number, ROLE]
        if role == EVENT_ID:
            if not read_id(data, position, length, ids, i):
                return 0
        elif role == TIME:
            if not is_time(data, position, stop, earliest, latest):
                return 0
        elif role == REFERENCE:
            if not note_reference(position, length, fields[number, DETAIL], number, places, i, refs):
                return 0
        elif role == KIND:
            kind = number
            places[i, BODY_START], places[i, BODY_END] = position, stop
            if not read_kind(data, kind_fields, number, kinds[number, KIND_NEEDS], places, i, refs):
                return 0
        else:
            return 0
        seen |= np.int64(1) << number
        last = number
        position = stop
    needed = kinds[kind, EVENT_NEEDS]
    return kind if seen & needed == needed else 0


@njit(cache=True)
def read_kind(data, kind_fields, kind, needed, places, i, refs):
    """Whether the kind's message keeps every rule, its references apart."""
    position, end = places[i, BODY_START], places[i, BODY_END]
    last = 0
    seen = np.int64(0)
    while position < end:
        tag, position = varint(data, position, end)
        number = tag >> 3
        if tag < 0 or number <= last or number >= MAX_FIELD:
            return False
        role = kind_fields[kind, number, ROLE]
        value, position = varint(data, position, end)
        if value < 0 or tag & 7 != (LENGTH_FIRST if role == REFERENCE else VARINT):
            return False
        if role == REFERENCE:
            if position + value > end or not note_reference(
                position, value, kind_fields[kind, number, DETAIL], 0, places, i, refs
            ):
                return False
            position += value
        elif value == 0:  # a zero is not on the wire
            return False
        elif role == CODE:
            if value > MAX_CODE or not kind_fields[kind, number, DETAIL] >> value & 1:
                return False
        elif role != NUMBER or value > kind_fields[kind, number, DETAIL]:
            return False
        seen |= np.int64(1) << number
        last = number
    return seen & needed == needed


@njit(cache=True)
def note_reference(position, length, thing, number, places, i, refs):
    if length == 0 or length > MAX_REFERENCE_BYTES or places[i, COUNT_REFS] == MAX_REFS:
        return False
    k = places[i, FIRST_REF] + places[i, COUNT_REFS]
    refs[k, AT], refs[k, LENGTH], refs[k, THING], refs[k, FIELD] = position, length, thing, number
    places[i, COUNT_REFS] += 1
    return True


@njit(cache=True)
def read_id(data, position, length, ids, i):
    """The halves of a UUID in small letters."""
    if length != ID_BYTES:
        return False
    start, every = np.uint64(position), ZERO
    for half in range(2):
        value = ZERO
        for k in range(16):
            digit = DIGIT_OF[data[start + ID_DIGITS[16 * half + k]]]
            every |= digit
            value = value << np.uint64(4) | digit
        ids[i, half] = value
    for k in ID_HYPHENS:
        if data[start + k] != 45:
            return False
    return every < 16


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
        if nanos <= 0 or nanos > MAX_NANOS:
            return False
    return position == end


@njit(cache=True)
def find_references(data, places, i, refs, partition_field, count_partitions, slots, rows, seed):
    """Whether each is known; notes their rows, and the event's partition."""
    first, count = places[i, FIRST_REF], places[i, COUNT_REFS]
    places[i, PARTITION] = -1
    for k in range(first, first + count):
        slot = slot_of(data, refs[k, AT], refs[k, LENGTH], refs[k, THING], slots, rows, seed)
        if slots[slot] < 0:
            return False
        row = np.int64(slots[slot]) * ROW_BYTES
        refs[k, ROW] = row
        if refs[k, FIELD] == partition_field:
            crc = read_part(rows, row + ROW_CRC, CRC_BYTES)
            places[i, PARTITION] = crc % np.uint64(count_partitions)
    return True


@njit(cache=True)
def make_references(data, places, i, refs, slots, rows, seed, used, prefixes, keyed, crc_start):
    """A row for each that has none. NO_REFERENCE: one may be none; NO_ROOM: no row is left; else 0."""
    for k in range(places[i, FIRST_REF], places[i, FIRST_REF] + places[i, COUNT_REFS]):
        position, length, thing = refs[k, AT], refs[k, LENGTH], refs[k, THING]
        slot = slot_of(data, position, length, thing, slots, rows, seed)
        if slots[slot] < 0:
            if not is_plain_reference(data, position, length):
                return NO_REFERENCE
            if used[0] * ROW_BYTES == len(rows):
                return NO_ROOM
            fill_row(rows, used[0] * ROW_BYTES, data, position, length, thing, prefixes, keyed, crc_start)
            slots[slot] = used[0]
            used[0] += 1
    return 0


@njit(cache=True)
def is_addressable(places, i, refs, must_differ):
    """Whether the event has a partition, and its last two references differ where they must."""
    last = places[i, FIRST_REF] + places[i, COUNT_REFS] - 1
    return places[i, PARTITION] >= 0 and not (must_differ and refs[last, ROW] == refs[last - 1, ROW])


@njit(cache=True)
def measure(places, i, refs, parts):
    """Sizes with pseudonyms, of the event, its kind's message, and its partition's part of the output."""
    old = places[i, BODY_END] - places[i, BODY_START]
    body, size = old, places[i, END] - places[i, START]
    first = places[i, FIRST_REF]
    for k in range(first, first + places[i, COUNT_REFS]):
        more = PSEUDONYM_BYTES - refs[k, LENGTH]
        size += more
        if refs[k, AT] > places[i, BODY_START]:
            body += more
    size += size_of_varint(body) - size_of_varint(old)
    places[i, BODY_SIZE], places[i, SIZE] = body, size
    accepted = accepted_size(size)
    parts[places[i, PARTITION], COUNT] += 1
    parts[places[i, PARTITION], PART_END] += 1 + size_of_varint(accepted) + accepted


@njit(cache=True)
def accepted_size(size):
    """Of an Accepted… message around an event of this size."""
    return BODY_HASH_BYTES + 1 + size_of_varint(size) + size


# Writing what becomes of it -------------------------------------------------------------------------------


@njit(cache=True)
def write(data, places, refs, ids, is_good, rows, tag, parts, out, events):
    """Each good event as an entry of its partition, with the hash of its bytes before them; and `events`."""
    starts = np.zeros(len(parts), np.int64)
    starts[1:] = parts[:-1, PART_END]
    n = 0
    for i in range(len(places)):
        if not is_good[i]:
            continue
        at, size = starts[places[i, PARTITION]], places[i, SIZE]
        out[at] = tag
        at = put_varint(out, at + 1, accepted_size(size))
        hash_at = at + 1
        out[at] = TAG_BODY_HASH
        at += BODY_HASH_BYTES
        out[at] = TAG_EVENT
        body = put_varint(out, at + 1, size)
        at = write_event(data, places, i, refs, rows, out, body)
        starts[places[i, PARTITION]] = at
        value = xxh64(out, body, at)
        events[n, INDEX], events[n, HIGH], events[n, LOW], events[n, HASH] = i, ids[i, 0], ids[i, 1], value
        for k in range(8):
            out[hash_at + k] = value >> np.uint64(8 * k) & np.uint64(0xFF)
        n += 1


@njit(cache=True)
def write_event(data, places, i, refs, rows, out, at):
    """Copies the event; a reference's length and text, and its kind's length, are replaced."""
    position = places[i, START]
    body_length_at = places[i, BODY_START] - size_of_varint(places[i, BODY_END] - places[i, BODY_START])
    is_body_written = False
    first = places[i, FIRST_REF]
    for k in range(first, first + places[i, COUNT_REFS] + 1):
        is_last = k == first + places[i, COUNT_REFS]
        stop = places[i, END] if is_last else refs[k, AT] - 1  # a reference's length is one byte
        if not is_body_written and body_length_at <= stop:
            at = copy(data, position, body_length_at, out, at)
            at = put_varint(out, at, places[i, BODY_SIZE])
            position = places[i, BODY_START]
            is_body_written = True
        at = copy(data, position, stop, out, at)
        if not is_last:
            out[at] = PSEUDONYM_BYTES
            pseudonym = refs[k, ROW] + ROW_PSEUDONYM
            at = copy(rows, pseudonym, pseudonym + PSEUDONYM_BYTES, out, at + 1)
            position = refs[k, AT] + refs[k, LENGTH]
    return at


@njit(cache=True)
def copy(data, position, end, out, at):
    start, to = np.uint64(position), np.uint64(at)
    for k in range(np.uint64(end - position)):
        out[to + k] = data[start + k]
    return at + end - position


@njit(cache=True)
def write_results(events, status, out, ends):
    """A response's result of each event, as accepted, and where it ends. Returns the last end."""
    at = 0
    for i in range(len(events)):
        index = np.int64(events[i, INDEX])
        size = 2 + ID_BYTES + 2 + (1 + size_of_varint(index) if index else 0)
        out[at], out[at + 1] = TAG_RESULT, size
        at += 2
        if index:
            out[at] = TAG_RESULT_INDEX
            at = put_varint(out, at + 1, index)
        out[at], out[at + 1] = TAG_RESULT_ID, ID_BYTES
        at = put_id(events[i, HIGH], events[i, LOW], out, at + 2)
        out[at], out[at + 1] = TAG_RESULT_STATUS, status
        at += 2
        ends[i] = at
    return at


@njit(cache=True)
def put_id(high, low, out, at):
    start = np.uint64(at)
    for k in range(32):
        half = high if k < 16 else low
        out[start + ID_DIGITS[k]] = HEX[half >> np.uint64(60 - 4 * (k % 16)) & np.uint64(15)]
    for k in ID_HYPHENS:
        out[start + k] = 45
    return at + ID_BYTES
