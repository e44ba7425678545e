"""The arithmetic of rolling engagement, over rows of `layout`, compiled by numba: docs/engagement.md as code.

Pure: knows no Kafka, no clock, no partition. A group's figures are made in three steps, of which a large
group repeats only the last two while its `as_of` stands:

* `begin` empties the tables and puts in what is remembered of people;
* `add` puts events into the tables, in any order, each once. It tells when an event comes too late to be
  added (a thread's opening after its replies, an act after the answers to it): then all are added anew;
* `finish` makes the figures of the tables.

What is taken back, withdrawn or has left a window is not subtracted: the group begins anew. One file,
because numba's cache looks at one only.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from services.engagement.layout import (
    ATTENDED,
    CANCELLED,
    DROPOUT_SECONDS,
    FAR,
    HELD,
    JOINED,
    LEFT,
    MODERATED,
    MODERATOR_REPLY,
    NOBODY,
    REACTED,
    READ,
    REPLIED,
    STARTED,
    WINDOWS_HOURS,
)

W0, W1, W2, W3 = (hours * 3600 for hours in WINDOWS_HOURS)
HOUR, DAY = 3600, 86400
OUTSIDE = 4
"""In place of a window's number: in none."""

(
    EVENTS, POSTS, REPLIES, READS, REACTIONS, ACTIVE, NEWCOMERS, RETURNING, DROPOUTS, SESSIONS, PLACES,
    ATTENDANCES, THREADS, ANSWERED, FOLLOWED_1H, ANSWERED_1H, FOLLOWED_24H, ANSWERED_24H, MODERATED_THREADS,
    DYADS, RECIPROCAL, CONTRIBUTORS, TOP_POSTS,
) = range(23)  # fmt: skip
COUNTED = 5
"""The first columns are counted as events come."""

# The tables of one group.
PERSONS, THREAD, ACTS, ANSWERS, PAIRS, MARKS = range(6)
KEYED = 5
"""The first tables are found by their keys; `marks` is a list."""
KEYS_PER_EVENT = 2
"""At most, in the table of acts: an event's own, and the one that it answers."""

WINDOWS_FIELD = 13
MAX_ENCODED_BYTES = 2048
"""Of four windows with 26 figures, each of 12 bytes at most."""

ADDED, TOO_LATE, FULL = range(3)
"""Added; an event came after another that needed it; a table has no room left."""

PERSON_ROW = np.dtype(
    [("key", "u8"), ("first", "i8"), ("last", "i8"), ("acted", "i8"), ("left", "i8"), ("posts0", "i8"),
     ("posts1", "i8"), ("posts2", "i8"), ("posts3", "i8"), ("is_in", "u1"), ("is_out", "u1"),
     ("has_joined", "u1")],
    align=True,
)  # fmt: skip
THREAD_ROW = np.dtype(
    [("key", "u8"), ("at", "i8"), ("by", "u8"), ("act", "u8"), ("waited", "i8"), ("author", "i4"),
     ("is_used", "u1")],
    align=True,
)  # fmt: skip
"""Its opening; `by` is the person's key, `author` the person's place. Without an author it is known from
replies only; once used, another opening needs a new beginning."""
ACT_ROW = np.dtype(
    [("key", "u8"), ("at", "i8"), ("by", "u8"), ("author", "i4"), ("is_used", "u1")], align=True
)
"""As of threads."""
ANSWER_ROW = np.dtype(
    [("key", "u8"), ("at", "i8"), ("other_at", "i8"), ("person", "i4"), ("other", "i4")], align=True
)
"""Moderators' answers to an act: the first one, and the first by another moderator."""
PAIR_ROW = np.dtype([("key", "u8"), ("there", "i1"), ("back", "i1")], align=True)
"""Two people, and the shortest window with a reply in the one direction and in the other."""
MARK_ROW = np.dtype(
    [("at", "i8"), ("session", "u8"), ("person", "i4"), ("kind", "u1"), ("role", "u1")], align=True
)
"""A joining or leaving, or what is told of a session."""
ROWS = (PERSON_ROW, THREAD_ROW, ACT_ROW, ANSWER_ROW, PAIR_ROW, MARK_ROW)
NONE = -1


@njit(cache=True)
def _slot(slots, table, key):
    """The slot that has `key`, or else the one for it."""
    mask = slots.shape[0] - 1
    slot = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while slots[slot] != NONE and table[slots[slot]].key != key:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True)
def _find(slots, table, key):
    """Where `key` is in `table`, or NONE."""
    return np.int64(slots[_slot(slots, table, key)])


@njit(cache=True)
def _place(slots, table, count, key):
    """Where `key` is in `table`; a new one is put at `count`, which is the answer then."""
    slot = _slot(slots, table, key)
    if slots[slot] == NONE:
        slots[slot] = count
        table[count].key = key
    return np.int64(slots[slot])


@njit(cache=True)
def _window(at, as_of):
    """Number of the shortest window that holds the time."""
    age = as_of - at
    if age <= W0:
        return 0
    if age <= W1:
        return 1
    if age <= W2:
        return 2
    return 3 if age <= W3 else OUTSIDE


@njit(cache=True)
def _person(slots, persons, counts, key):
    """Where the person is; somebody new has done nothing yet."""
    found = _place(slots, persons, counts[PERSONS], key)
    if found == counts[PERSONS]:
        counts[PERSONS] += 1
        new = persons[found]
        new.first, new.last, new.acted, new.left = FAR, -FAR, FAR, -FAR
        new.posts0, new.posts1, new.posts2, new.posts3 = 0, 0, 0, 0
        new.is_in, new.is_out, new.has_joined = 0, 0, 0
    return found


@njit(cache=True)
def begin(people, persons, by_person, by_thread, by_act, by_answered, by_pair, counts, counted):
    """Empties the tables and puts in `people`, PERSON rows, for which there is room.

    Each `by_…` is int32, a power of two of at least twice as many as its table has room for; `counts` is
    int64 [tables], `counted` int64 [4 windows, COUNTED].
    """
    for slots in (by_person, by_thread, by_act, by_answered, by_pair):
        slots[:] = NONE
    counts[:] = 0
    counted[:] = 0
    for i in range(people.shape[0]):
        known = people[i]
        if not known.hidden:
            one = persons[_person(by_person, persons, counts, known.person)]
            one.first, one.last, one.acted, one.left = known.first, known.last, known.acted, known.left
            one.is_in, one.has_joined = known.is_in, known.has_joined
            one.is_out = known.moved != -FAR and not known.is_in


@njit(cache=True)
def add(
    rows, as_of, persons, threads, acts, answers, pairs, marks,
    by_person, by_thread, by_act, by_answered, by_pair, counts, counted,
):  # fmt: skip
    """Adds EVENT rows of the log: ADDED, or what has to be done before the group begins anew."""
    fits = True
    for i in range(rows.shape[0]):
        row = rows[i]
        if row.hidden:
            continue
        if (
            counts[PERSONS] == persons.shape[0] or counts[THREAD] == threads.shape[0]
            or counts[ACTS] == acts.shape[0] or counts[ANSWERS] == answers.shape[0]
            or counts[MARKS] == marks.shape[0]
        ):  # fmt: skip
            return FULL
        kind = row.kind
        w = _window(row.at, as_of)
        counted[w, EVENTS] += 1
        person = NONE
        if row.person != NOBODY:
            person = _person(by_person, persons, counts, row.person)
            _see(persons[person], row)
        if kind <= ATTENDED and (person != NONE or kind >= HELD):
            mark = marks[counts[MARKS]]
            counts[MARKS] += 1
            mark.at, mark.session, mark.person = row.at, row.thread, person
            mark.kind, mark.role = kind, row.role
        if person == NONE:
            continue
        if kind == READ:
            counted[w, READS] += 1
        elif kind == REACTED:
            counted[w, REACTIONS] += 1
        elif kind == STARTED or kind == REPLIED:
            counted[w, POSTS] += 1
            _wrote(persons[person], w)
            if row.act != NOBODY:
                act = _place(by_act, acts, counts[ACTS], row.act)
                fits &= _credit(acts[act], act == counts[ACTS], row, person)
                counts[ACTS] = max(counts[ACTS], act + 1)
            if kind == REPLIED:
                counted[w, REPLIES] += 1
            else:
                thread = _place(by_thread, threads, counts[THREAD], row.thread)
                fits &= _open(threads[thread], thread == counts[THREAD], row, person)
                counts[THREAD] = max(counts[THREAD], thread + 1)
        elif kind == MODERATED and row.role == MODERATOR_REPLY and row.act != NOBODY:
            answer = _place(by_answered, answers, counts[ANSWERS], row.act)
            _answer(answers[answer], answer == counts[ANSWERS], row.at, person)
            counts[ANSWERS] = max(counts[ANSWERS], answer + 1)
    # Replies last: what they answer may have come together with them.
    for i in range(rows.shape[0]):
        row = rows[i]
        if row.kind != REPLIED or row.hidden or row.person == NOBODY:
            continue
        if (
            counts[THREAD] == threads.shape[0]
            or counts[ACTS] == acts.shape[0]
            or counts[PAIRS] == pairs.shape[0]
        ):
            return FULL
        person = _find(by_person, persons, row.person)
        thread = _place(by_thread, threads, counts[THREAD], row.thread)
        _wait(threads[thread], thread == counts[THREAD], row.at, person)
        counts[THREAD] = max(counts[THREAD], thread + 1)
        if row.parent == NOBODY:
            continue
        act = _place(by_act, acts, counts[ACTS], row.parent)
        author = _use(acts[act], act == counts[ACTS])
        counts[ACTS] = max(counts[ACTS], act + 1)
        if author != NONE and author != person:
            a, b = np.uint64(person), np.uint64(author)
            pair = _place(by_pair, pairs, counts[PAIRS], min(a, b) << np.uint64(32) | max(a, b))
            _pair(pairs[pair], pair == counts[PAIRS], a < b, _window(row.at, as_of))
            counts[PAIRS] = max(counts[PAIRS], pair + 1)
    return ADDED if fits else TOO_LATE


@njit(cache=True)
def _see(one, row):
    """First and last activity, first act as a member, newest leaving."""
    kind = row.kind
    if kind == LEFT:
        one.left = max(one.left, row.at)
    elif kind == JOINED or ATTENDED <= kind <= MODERATED:
        one.first, one.last = min(one.first, row.at), max(one.last, row.at)
        if kind == JOINED:
            one.has_joined = 1
        elif kind != MODERATED and (kind != ATTENDED or row.role <= 1):
            one.acted = min(one.acted, row.at)


@njit(cache=True)
def _wrote(one, w):
    """Counts a post in its window and all longer ones."""
    one.posts3 += 1
    one.posts2 += w <= 2
    one.posts1 += w <= 1
    one.posts0 += w == 0


@njit(cache=True)
def _credit(act, is_new, row, person):
    """Whose act it is: the earliest; in one second, of the lowest pseudonym. False: too late to say."""
    if is_new:
        act.author, act.is_used = NONE, 0
    if act.author != NONE and (row.at > act.at or (row.at == act.at and row.person >= act.by)):
        return True
    act.at, act.by, act.author = row.at, row.person, person
    return act.is_used == 0


@njit(cache=True)
def _open(thread, is_new, row, person):
    """The same of a thread's opening; of several by that person in one second, the lowest act."""
    if is_new:
        thread.author, thread.is_used, thread.waited = NONE, 0, NONE
    if thread.author != NONE and (
        row.at > thread.at
        or (row.at == thread.at and row.person > thread.by)
        or (row.at == thread.at and row.person == thread.by and row.act >= thread.act)
    ):
        return True
    thread.at, thread.by, thread.author, thread.act = row.at, row.person, person, row.act
    return thread.is_used == 0


@njit(cache=True)
def _answer(answer, is_new, at, person):
    if is_new:
        answer.at, answer.person, answer.other_at, answer.other = at, person, FAR, NONE
    elif person == answer.person:
        answer.at = min(answer.at, at)
    elif at < answer.at:
        answer.other_at, answer.other = answer.at, answer.person
        answer.at, answer.person = at, person
    elif at < answer.other_at:
        answer.other_at, answer.other = at, person


@njit(cache=True)
def _wait(thread, is_new, at, person):
    """How long the thread waited for a reply by another than its opener."""
    if is_new:
        thread.author, thread.waited = NONE, NONE
    thread.is_used = 1
    if thread.author != NONE and thread.author != person:
        waited = max(0, at - thread.at)
        thread.waited = waited if thread.waited == NONE else min(thread.waited, waited)


@njit(cache=True)
def _use(act, is_new):
    if is_new:
        act.author = NONE
    act.is_used = 1
    return act.author


@njit(cache=True)
def _pair(pair, is_new, is_there, w):
    if is_new:
        pair.there, pair.back = OUTSIDE, OUTSIDE
    if is_there:
        pair.there = min(pair.there, w)
    else:
        pair.back = min(pair.back, w)


@njit(cache=True)
def finish(as_of, persons, threads, answers, pairs, marks, by_answered, counts, counted, out, medians, gini):
    """Fills the figures: `out` int64 [4 windows, columns up to TOP_POSTS], `medians` int64 [4, 2] with
    NONE where there is none, `gini` float64 [4] with NaN.
    """
    out[:] = 0
    medians[:] = NONE
    gini[:] = np.nan
    out[:, :COUNTED] = counted
    _people(persons[: counts[PERSONS]], as_of, out)
    if counts[MARKS] > 0:
        _sessions(marks[: counts[MARKS]], persons[: counts[PERSONS]], as_of, out)
    _threads(threads[: counts[THREAD]], answers, by_answered, counts[ANSWERS], as_of, out, medians)
    for i in range(counts[PAIRS]):
        out[min(pairs[i].there, pairs[i].back), DYADS] += 1
        if max(pairs[i].there, pairs[i].back) != OUTSIDE:
            out[max(pairs[i].there, pairs[i].back), RECIPROCAL] += 1
    for column in range(CONTRIBUTORS):
        for w in range(1, 4):
            out[w, column] += out[w - 1, column]
    for w in range(4):
        out[w, RETURNING] = out[w, ACTIVE] - out[w, NEWCOMERS]
    if out[3, POSTS] > 0:
        _concentration(persons[: counts[PERSONS]], out, gini)


@njit(cache=True)
def anew(
    rows, people, as_of, persons, threads, acts, answers, pairs, marks,
    by_person, by_thread, by_act, by_answered, by_pair, counts, counted, out, medians, gini,
):  # fmt: skip
    """All three steps at once, in tables that have room: to call each costs a small group more."""
    begin(people, persons, by_person, by_thread, by_act, by_answered, by_pair, counts, counted)
    add(
        rows, as_of, persons, threads, acts, answers, pairs, marks,
        by_person, by_thread, by_act, by_answered, by_pair, counts, counted,
    )  # fmt: skip
    finish(
        as_of, persons, threads, answers, pairs, marks, by_answered, counts, counted, out, medians, gini
    )  # fmt: skip


@njit(cache=True)
def _people(persons, as_of, out):
    for i in range(persons.shape[0]):
        one = persons[i]
        if one.last == -FAR:
            continue
        w = _window(one.first, as_of)
        if w != OUTSIDE:
            out[w, NEWCOMERS] += 1
        w = _window(one.last, as_of)
        if w != OUTSIDE:
            out[w, ACTIVE] += 1
            continue
        gone = one.last + DROPOUT_SECONDS
        w = _window(gone, as_of)
        if gone < as_of and one.left < one.last and w != OUTSIDE:
            out[w, DROPOUTS] += 1


@njit(cache=True)
def _sessions(marks, persons, as_of, out):
    n = marks.shape[0]
    size = 8
    while size < 2 * n:
        size *= 2
    by_session, by_pair = np.full(size, NONE, np.int32), np.full(size, NONE, np.int32)
    sessions, pairs = np.empty(n, PAIR_ROW), np.empty(n, PAIR_ROW)
    held, attended = np.full(n, FAR, np.int64), np.full(n, FAR, np.int64)
    cancelled, attendees = np.zeros(n, np.bool_), np.zeros(n + 1, np.int64)
    moves, count_moves, count, count_pairs = np.empty(n, np.int64), 0, 0, 0
    for i in range(n):
        mark = marks[i]
        if mark.kind < HELD:
            # In order of time; of both in the same second the leaving comes last and decides.
            moves[count_moves] = (
                (mark.at - as_of + W3) << 33 | np.int64(mark.kind == LEFT) << 32 | np.int64(mark.person)
            )
            count_moves += 1
            continue
        session = _place(by_session, sessions, count, mark.session)
        count = max(count, session + 1)
        if mark.kind == HELD:
            held[session] = min(held[session], mark.at)
        elif mark.kind == CANCELLED:
            cancelled[session] = True
        else:
            attended[session] = min(attended[session], mark.at)
            if mark.role <= 1 and mark.person != NONE:
                key = np.uint64(session) << np.uint64(32) | np.uint64(mark.person)
                pair = _place(by_pair, pairs, count_pairs, key)
                if pair == count_pairs:
                    count_pairs += 1
                    attendees[session + 1] += 1
    if count == 0:
        return

    # Who attended each session, one session after the other.
    for session in range(count):
        attendees[session + 1] += attendees[session]
    people, place = np.empty(count_pairs, np.int64), attendees.copy()
    for pair in range(count_pairs):
        session = np.int64(pairs[pair].key >> np.uint64(32))
        people[place[session]] = np.int64(pairs[pair].key & np.uint64(0xFFFFFFFF))
        place[session] += 1

    # All in order of time, which stands in the upper bits.
    times, count_held = np.empty(count, np.int64), 0
    for session in range(count):
        at = held[session] if held[session] != FAR else attended[session]
        if not cancelled[session] and at != FAR:
            times[count_held] = (at - as_of + W3) << 32 | session
            count_held += 1
    is_member, has_left = np.empty(persons.shape[0], np.bool_), np.empty(persons.shape[0], np.bool_)
    starts, count_starts = np.empty(persons.shape[0], np.int64), 0
    for i in range(persons.shape[0]):
        is_member[i] = persons[i].is_in
        # Somebody who never joined is a member from the first act until the first leaving.
        has_left[i] = persons[i].is_out
        if not persons[i].has_joined and persons[i].acted < as_of:
            starts[count_starts] = max(0, persons[i].acted - as_of + W3) << 32 | i
            count_starts += 1
    times, moves = np.sort(times[:count_held]), np.sort(moves[:count_moves])
    starts = np.sort(starts[:count_starts])

    members, move, start = is_member.sum(), 0, 0
    for i in range(count_held):
        session, at = times[i] & 0xFFFFFFFF, times[i] >> 32
        while move < count_moves and moves[move] >> 33 <= at:
            person, comes = moves[move] & 0xFFFFFFFF, (moves[move] >> 32) & 1 == 0
            members += np.int64(comes) - np.int64(is_member[person])
            is_member[person] = comes
            has_left[person] |= not comes
            move += 1
        while start < count_starts and starts[start] >> 32 <= at:
            person = starts[start] & 0xFFFFFFFF
            if not has_left[person]:
                members += 1
                is_member[person] = True
            start += 1
        w = _window(at + as_of - W3, as_of)
        out[w, SESSIONS] += 1
        out[w, PLACES] += members
        for attendee in range(attendees[session], attendees[session + 1]):
            out[w, ATTENDANCES] += is_member[people[attendee]]


@njit(cache=True)
def _threads(threads, answers, by_answered, count_answers, as_of, out, medians):
    n = threads.shape[0]
    replied, moderated = np.empty(n, np.int64), np.empty(n, np.int64)
    opened, count = np.empty(n, np.int64), 0
    for i in range(n):
        thread = threads[i]
        if thread.author == NONE:
            continue
        w, age = _window(thread.at, as_of), as_of - thread.at
        out[w, THREADS] += 1
        if thread.waited != NONE:
            out[w, ANSWERED] += 1
        if age >= HOUR:
            out[w, FOLLOWED_1H] += 1
            out[w, ANSWERED_1H] += 0 <= thread.waited <= HOUR
        if age >= DAY:
            out[w, FOLLOWED_24H] += 1
            out[w, ANSWERED_24H] += 0 <= thread.waited <= DAY
        asked = NONE
        if count_answers > 0 and thread.act != NOBODY:
            found = _find(by_answered, answers, thread.act)
            if found != NONE:
                answer = answers[found]
                at = answer.at if answer.person != thread.author else answer.other_at
                if at != FAR:
                    asked = max(0, at - thread.at)
                    out[w, MODERATED_THREADS] += 1
        # Twice the seconds, plus 1 where the thread is unanswered: a censored time comes after an answer.
        replied[count] = 2 * thread.waited if thread.waited != NONE else 2 * age + 1
        moderated[count] = 2 * asked if asked != NONE else 2 * age + 1
        opened[count] = w
        count += 1
    for w in range(4):
        medians[w, 0] = _median(replied[:count], opened[:count], w)
        medians[w, 1] = _median(moderated[:count], opened[:count], w) if count_answers > 0 else NONE


@njit(cache=True)
def _median(durations, opened, w):
    """Kaplan–Meier median in seconds of the threads opened in the window; NONE where it is not reached."""
    inside, count = np.empty(durations.shape[0], np.int64), 0
    for i in range(durations.shape[0]):
        if opened[i] <= w:
            inside[count] = durations[i]
            count += 1
    inside = np.sort(inside[:count])
    surviving = 1.0
    for i in range(count):
        if inside[i] & 1:
            continue
        surviving *= 1.0 - 1.0 / (count - i)
        # Answers at one time are one step of the curve.
        if (i + 1 == count or inside[i + 1] != inside[i]) and surviving <= 0.5 + 1e-9:
            return inside[i] >> 1
    return NONE


@njit(cache=True)
def _concentration(persons, out, gini):
    for w in range(4):
        written, found = np.empty(persons.shape[0], np.int64), 0
        for i in range(persons.shape[0]):
            one = persons[i]
            posts = one.posts0 if w == 0 else one.posts1 if w == 1 else one.posts2 if w == 2 else one.posts3
            if posts > 0:
                written[found] = posts
                found += 1
        if found == 0:
            continue
        written = np.sort(written[:found])
        total, weighted, top = 0, 0, 0
        for i in range(found):
            total += written[i]
            weighted += (2 * (i + 1) - found - 1) * written[i]
        for i in range(found - (found + 99) // 100, found):
            top += written[i]
        out[w, CONTRIBUTORS], out[w, TOP_POSTS] = found, top
        gini[w] = weighted / (found * total)


@njit(cache=True)
def merge(kept, count, news):
    """Puts `news` among the first `count` rows of `kept`, which has room for all; returns how many new ones.

    Both are in order of (at, event). Of rows with the same two one is kept: the known one, or else the first.
    The new ones are moved to the front of `news`, in their order.
    """
    i, unknown = 0, 0
    for j in range(news.shape[0]):
        at, event = news[j].at, news[j].event
        if unknown > 0 and news[unknown - 1].at == at and news[unknown - 1].event == event:
            continue
        while i < count and (kept[i].at < at or (kept[i].at == at and kept[i].event < event)):
            i += 1
        if i < count and kept[i].at == at and kept[i].event == event:
            continue
        news[unknown] = news[j]
        unknown += 1
    i, target = count - 1, count + unknown - 1
    for j in range(unknown - 1, -1, -1):
        at, event = news[j].at, news[j].event
        while i >= 0 and (kept[i].at > at or (kept[i].at == at and kept[i].event > event)):
            kept[target] = kept[i]
            target -= 1
            i -= 1
        kept[target] = news[j]
        target -= 1
    return unknown


@njit(cache=True)
def encode(out, medians, gini, target):
    """Writes the windows as the field `windows` of GroupEngagement; how many bytes.

    `gini` as uint8 [4 × 8]; `target` has room for MAX_ENCODED_BYTES. What is zero is not written, a median
    of zero is.
    """
    at = 0
    for w in range(4):
        target[at] = WINDOWS_FIELD << 3 | 2
        begin = at + 3
        at = _put_varint(target, _put_varint(target, begin, 1 << 3), WINDOWS_HOURS[w])
        for column in range(TOP_POSTS + 1):
            if out[w, column] != 0:
                at = _put_varint(target, _put_varint(target, at, (column + 2) << 3), out[w, column])
        for which in range(2):
            if medians[w, which] != NONE:
                at = _put_varint(target, at, (TOP_POSTS + 3 + which) << 3)
                at = _put_varint(target, at, medians[w, which])
        # A number that is none has all its exponent's bits set.
        if gini[8 * w + 7] & 0x7F != 0x7F:
            at = _put_varint(target, at, (TOP_POSTS + 5) << 3 | 1)
            target[at : at + 8] = gini[8 * w : 8 * w + 8]
            at += 8
        # The length of a window in two bytes, also where one would do.
        target[begin - 2], target[begin - 1] = (at - begin) & 0x7F | 0x80, (at - begin) >> 7
    return at


@njit(cache=True)
def _put_varint(target, at, value):
    while value > 0x7F:
        target[at] = value & 0x7F | 0x80
        value >>= 7
        at += 1
    target[at] = value
    return at + 1
