"""What happens in many groups over two years, as rows of the raw tables: the same from the same seed.

A *world* has groups, people and events of its own; a larger lake has more worlds. How rows get into a lake
is `lakes`'. Sizes have a long tail, most people post seldom, and what partners do wrong is there too: late
events, copies, other bodies under a known id, retractions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tests.benchmarks.warehouse.texts import codes, pseudonyms, uuids, where

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

TENANTS = ("bench-north", "bench-south", "bench-west")
DATA_CLASSES = ("live", "live", "synthetic")
TENANT_SHARES = (0.5, 0.35, 0.15)

EVENTS_OF_A_GROUP, EVENTS_OF_A_PERSON = 500, 20

SHARES = {
    "participation_events": 0.92,
    "outcome_events": 0.07,
    "group_events": 0.0095,
    "study_events": 0.0005,
}
"""Of the events, by raw table."""
FAILED_SHARE = 0.0005

KINDS = {
    "thread_read": 36.0,
    "reply_posted": 21.0,
    "reaction_given": 16.0,
    "session_attended": 9.0,
    "member_joined": 5.0,
    "thread_started": 4.0,
    "text_features_measured": 4.0,
    "moderation_acted": 2.0,
    "session_held": 1.5,
    "member_left": 0.9,
    "event_retracted": 0.3,
    "session_cancelled": 0.2,
    "risk_raised": 0.1,
}
"""Percent of participation. What needs a thread or a session begins one where the group has none."""
ON_THREADS = ("thread_read", "reply_posted", "reaction_given", "moderation_acted", "text_features_measured")
OF_SESSIONS = ("session_attended", "session_cancelled")
OF_NOBODY = ("session_held", "session_cancelled", "event_retracted")
LIVELY_THREADS = 6

OUTCOME_KINDS = {
    "consent_given": 42.0,
    "questionnaire_answered": 30.0,
    "survey_answered": 3.0,
    "theme_coded": 1.0,
    "attribute_stated": 17.7,
    "arm_allocated": 4.0,
    "consent_withdrawn": 2.0,
    "event_retracted": 0.3,
}
STUDY = "synthetic-peer-group"
"""A study of `pipelines/evidence/protocols`, so that there is evidence to read."""
ARMS, TIME_POINTS = ("peer-group", "waiting-list"), ("baseline", "week-6", "week-12")
DICTIONARY = "low-2020"
FEATURES = (
    "n_words",
    "sent_neg",
    "sent_pos",
    "anxiety",
    "economic_stress",
    "isolation",
    "sadness",
    "suicidality",
)
SURVEY, ANSWERS = (
    "synthetic-survey",
    {"online-group": ("no", "no", "no", "yes"), "age-group": ("18-34", "35-49"), "mdd": ("no", "yes")},
)
INTERVIEWS, THEMES = "synthetic-mens-groups", ("purpose", "coping", "safe-space")
"""Studies of `pipelines/evidence/protocols` as well."""
AGE_BANDS = ("18_25", "26_34", "35_49", "50_64", "65_and_over")
GENDERS = ("woman", "man", "non_binary")

GROUP_KINDS = {"group_changed": 96.0, "group_closed": 3.5, "event_retracted": 0.5}

DAY = 86_400
DAYS = 730
FIRST_SECOND = 1_717_200_000
"""2024-06-01 00:00 UTC."""

LATE_SHARE, LATE_SECONDS = 0.03, 26 * 3600
VERY_LATE_SHARE, VERY_LATE_SECONDS = 0.005, 30 * DAY
RETENTION_SECONDS = 7 * DAY
"""The gateway calls an event late that is older than this."""
COPY_SHARE, CONFLICT_SHARE = 0.01, 0.0002
ENVELOPE = 100
PARTITIONS = 8
_WORLD = 2**40
"""Numbers of one world are below it."""


@dataclass(frozen=True)
class World:
    """`events` are there from the beginning, `further` ones of the same groups arrive afterwards.

    `groups_of`: the world whose groups and people it is about. `years_before`: how much earlier it occurred
    than it arrived; of a history that somebody brings in. `of_partners`: by whom it is told.
    """

    number: int
    events: int
    further: int
    groups_of: int = 0
    years_before: int = 0
    seed: int = 1
    of_partners: str = ""

    @property
    def groups(self) -> int:
        return max(3, self.events // EVENTS_OF_A_GROUP)

    @property
    def people(self) -> int:
        return max(4 * self.groups, self.events // EVENTS_OF_A_PERSON)

    @property
    def tenants(self) -> tuple[str, ...]:
        return tuple(f"{each}{self.of_partners}" for each in TENANTS)

    def count(self, raw_table: str, events: int) -> int:
        return round(SHARES[raw_table] * events)

    @cached_property
    def chance(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.number])


@dataclass(frozen=True)
class Groups:
    """The groups of a world, by number."""

    bounds: Floats
    """How busy they are, summed up: a long tail."""
    first_member: Integers
    members: Integers
    tenant: Integers
    begins: Floats
    lasts: Floats


def groups(world: World) -> Groups:
    chance = np.random.default_rng([world.seed, world.groups_of, 1])
    busy = np.minimum(chance.pareto(1.2, world.groups) + 0.1, 60.0)
    members = 2 + chance.multinomial(world.people - 2 * world.groups, busy / busy.sum())
    begins = chance.random(world.groups) ** 2 * 0.8
    return Groups(
        bounds=np.cumsum(busy),
        first_member=np.concatenate(([0], np.cumsum(members)[:-1])),
        members=members,
        tenant=np.searchsorted(np.cumsum(TENANT_SHARES)[:-1], chance.random(world.groups), side="right"),
        begins=begins,
        # Every second one goes on until the end.
        lasts=np.where(chance.random(world.groups) < 0.5, 1.0, 0.1 + 0.9 * chance.random(world.groups))
        * (1 - begins),
    )


def tables(world: World) -> dict[str, pa.Table]:
    """Rows by raw table, in the order of their arrival, but for when they land."""
    makers: Mapping[str, Callable[[World, Groups, int], pa.Table]] = {
        "participation_events": _participation,
        "outcome_events": _outcomes,
        "group_events": _group_events,
        "study_events": _studies,
    }
    world, there = replace(world), groups(world)  # anew, so that its chance begins anew as well
    made = {
        name: make(world, there, world.count(name, world.events + world.further))
        for name, make in makers.items()
    }
    return made | {"failed_events": _failures(world)}


def _participation(world: World, there: Groups, count: int) -> pa.Table:
    chance = world.chance
    group = np.searchsorted(there.bounds, chance.random(count) * there.bounds[-1])
    moment = there.begins[group] + chance.random(count) * there.lasts[group]
    order = np.lexsort((moment, group))
    group, moment = group[order], moment[order]
    row = np.arange(count)
    first_row = np.searchsorted(group, group)
    kind = _kinds(chance, KINDS, count)
    _begin(kind, first_row, ON_THREADS, "thread_started")
    _begin(kind, first_row, OF_SESSIONS, "session_held")
    kind[(kind == "event_retracted") & (first_row == row)] = "member_joined"

    thread = _newest(kind == "thread_started", first_row, chance.random(count), LIVELY_THREADS)
    session = _newest(kind == "session_held", first_row, np.zeros(count), 1)
    answered = _answered(kind, thread, chance.random(count))
    # Few members of a group do most of what happens in it.
    person = there.first_member[group] + (chance.random(count) ** 2.5 * there.members[group]).astype(np.int64)
    retracted = np.maximum(first_row, row - 1 - (chance.random(count) * 20).astype(np.int64))
    minutes = chance.integers(20, 90, count)

    def named(prefix: str, number: Integers, *kinds: str) -> pa.Array:
        is_there = np.isin(kind, kinds)
        return where(is_there, pseudonyms(prefix, world.number * _WORLD + number[is_there]))

    def stated(values: pa.Array, name: str) -> pa.Array:
        return where(kind == name, values.filter(pa.array(kind == name)))

    is_of_somebody = ~np.isin(kind, OF_NOBODY)
    columns = _common(world, "participation_events", there.tenant[group], kind, moment) | {
        "group_ref": _group_refs(world, group),
        "participant_ref": where(is_of_somebody, _people(world, person[is_of_somebody])),
        "member_left__reason": stated(codes(["own_choice"], np.zeros(count, np.int64)), "member_left"),
        "session_held__session_ref": named("ses", row, "session_held"),
        "session_held__minutes": stated(pa.array(minutes), "session_held"),
        "session_cancelled__session_ref": named("ses", session, "session_cancelled"),
        "session_attended__session_ref": named("ses", session, "session_attended"),
        "session_attended__role": stated(codes(["member"], np.zeros(count, np.int64)), "session_attended"),
        "session_attended__minutes": stated(pa.array(minutes), "session_attended"),
        "thread_started__thread_ref": named("thr", row, "thread_started"),
        "thread_started__act_ref": named("act", row, "thread_started"),
        "reply_posted__thread_ref": named("thr", thread, "reply_posted"),
        "reply_posted__act_ref": named("act", row, "reply_posted"),
        "reply_posted__in_reply_to_act_ref": named("act", answered, "reply_posted"),
        "reaction_given__act_ref": named("act", thread, "reaction_given"),
        "reaction_given__reaction": stated(codes(["support", "thanks"], row % 2), "reaction_given"),
        "thread_read__thread_ref": named("thr", thread, "thread_read"),
        "moderation_acted__action": stated(codes(["reply", "lock_thread"], row % 2), "moderation_acted"),
        "moderation_acted__act_ref": named("act", thread, "moderation_acted"),
        "risk_raised__case_ref": named("cas", row, "risk_raised"),
        "risk_raised__risk_kind": stated(codes(["self_harm", "other"], row % 2), "risk_raised"),
        "text_features_measured__act_ref": named("act", thread, "text_features_measured"),
        "text_features_measured__dictionary": stated(
            codes([DICTIONARY], np.zeros(count, np.int64)), "text_features_measured"
        ),
        "text_features_measured__features": where(
            kind == "text_features_measured",
            _features(chance, int((kind == "text_features_measured").sum())),
        ),
        "event_retracted__retracted_event_id": _retracted(world, "participation_events", kind, retracted),
    }
    return _arrived(world, pa.table(columns), there.tenant[group])


def _outcomes(world: World, there: Groups, count: int) -> pa.Table:
    chance = world.chance
    person = chance.integers(0, world.people, count)
    group = np.searchsorted(there.first_member, person, side="right") - 1
    moment = np.minimum(1.0, there.begins[group] + chance.random(count) * there.lasts[group])
    order = np.argsort(moment)
    person, group, moment = person[order], group[order], moment[order]
    row = np.arange(count)
    kind = _kinds(chance, OUTCOME_KINDS, count)
    kind[0] = "consent_given"
    is_answer, is_arm = kind == "questionnaire_answered", kind == "arm_allocated"
    is_planned = is_answer & (chance.random(count) < 0.5)
    is_banded, is_of_gender = _alternating(kind == "attribute_stated", row)
    has_items = is_answer & ~is_planned
    scores = chance.integers(0, 28, count).astype(np.float64)

    def of(is_there: Flags, names: tuple[str, ...], numbers: Integers) -> pa.Array:
        return where(is_there, codes(names, numbers[is_there] % len(names)))

    is_survey, is_theme = kind == "survey_answered", kind == "theme_coded"
    scopes = of(np.ones(count, np.bool_), ("research", "research", "service"), row)
    columns = _common(world, "outcome_events", there.tenant[group], kind, moment) | {
        "participant_ref": _people(world, person),
        "group_ref": _group_refs(world, group),
        "questionnaire_answered__instrument": of(is_answer, ("phq-9",), row),
        "questionnaire_answered__instrument_version": of(is_answer, ("1",), row),
        "questionnaire_answered__items": where(has_items, _items(chance, int(has_items.sum()))),
        "questionnaire_answered__total": pa.array(scores, mask=~is_planned),
        "questionnaire_answered__study_code": of(is_planned, (STUDY,), row),
        "questionnaire_answered__time_point": of(is_planned, TIME_POINTS, row),
        "attribute_stated__age_band": of(is_banded, AGE_BANDS, person),
        "attribute_stated__gender": of(is_of_gender, GENDERS, person),
        "survey_answered__survey_code": of(is_survey, (SURVEY,), row),
        "survey_answered__weight": pa.array(0.5 + chance.random(count), mask=~is_survey),
        "survey_answered__stratum": of(is_survey, ("north", "south"), person),
        "survey_answered__cluster": of(is_survey, tuple(f"c{each}" for each in range(40)), person),
        "survey_answered__answers": where(is_survey, _answers(chance, int(is_survey.sum()))),
        "theme_coded__study_code": of(is_theme, (INTERVIEWS,), row),
        "theme_coded__theme": of(is_theme, THEMES, row),
        "theme_coded__coder_ref": where(is_theme, pseudonyms("cod", row[is_theme] % 2)),
        "theme_coded__is_present": pa.array(row % 3 > 0, mask=~is_theme),
        "arm_allocated__study_code": of(is_arm, (STUDY,), row),
        "arm_allocated__arm": of(is_arm, ARMS, person),
        "consent_given__scope": _only(kind == "consent_given", scopes),
        "consent_withdrawn__scope": _only(kind == "consent_withdrawn", scopes),
        "event_retracted__retracted_event_id": _retracted(
            world, "outcome_events", kind, np.maximum(0, row - 1)
        ),
    }
    return _arrived(world, pa.table(columns), there.tenant[group])


def _group_events(world: World, there: Groups, count: int) -> pa.Table:
    chance = world.chance
    count = max(count, world.groups)
    group = np.concatenate([np.arange(world.groups), chance.integers(0, world.groups, count - world.groups)])
    kind = _kinds(chance, GROUP_KINDS, count)
    kind[: world.groups] = "group_registered"
    later = chance.random(count) * there.lasts[group]
    moment = there.begins[group] + np.where(kind == "group_registered", 0.0, later)
    row = np.arange(count)
    is_registered, is_changed = kind == "group_registered", kind == "group_changed"
    formats = codes(["online_forum", "video"], group % 2)
    columns = _common(world, "group_events", there.tenant[group], kind, moment) | {
        "group_ref": _group_refs(world, group),
        "group_registered__facts__format": _only(is_registered, formats),
        "group_registered__facts__capacity": pa.array(10 + group % 50, mask=~is_registered),
        "group_registered__facts__reads_collected": pa.array(group % 3 > 0, mask=~is_registered),
        "group_changed__facts__capacity": pa.array(10 + row % 50, mask=~is_changed),
        "event_retracted__retracted_event_id": _retracted(
            world, "group_events", kind, np.maximum(0, row - 1)
        ),
    }
    return _arrived(world, pa.table(columns), there.tenant[group])


def _studies(world: World, there: Groups, count: int) -> pa.Table:
    """Studies that partners register, and what they have found. Few, and most of them of one tenant."""
    chance = world.chance
    row = np.arange(count)
    tenant = np.where(row % 5 > 0, 0, 2)
    kind = np.where(row % 3 == 0, "study_registered", "arm_summarised").astype(object)
    kind[:3] = "study_registered"
    is_registered, is_arm = kind == "study_registered", kind == "arm_summarised"
    tenant[:3] = np.arange(3)
    studies = [STUDY, *(f"study-{world.groups_of}-{number}" for number in range(1, max(2, count // 5)))]
    study = np.where(row < 3, 0, row // 3 % len(studies))
    columns = _common(world, "study_events", tenant, kind, np.sort(chance.random(count))) | {
        "study_code": codes(studies, study),
        "study_registered__design": _only(is_registered, codes(["randomised", "cohort"], study % 2)),
        "study_registered__publication_year": pa.array(2015 + study % 10, mask=~is_registered),
        "arm_summarised__arm": _only(is_arm, codes(ARMS, row % 2)),
        "arm_summarised__outcome": _only(is_arm, codes(["depressive-symptoms"], row * 0)),
        "arm_summarised__n": pa.array(20 + row % 80, mask=~is_arm),
        "arm_summarised__mean": pa.array(chance.random(count) * 20, mask=~is_arm),
        "arm_summarised__sd": pa.array(2 + chance.random(count) * 4, mask=~is_arm),
    }
    return _arrived(world, pa.table(columns), tenant)


def _failures(world: World) -> pa.Table:
    """What could not be used: answers of an instrument that is not known yet, and foreign bytes."""
    chance = world.chance
    count = max(4, round(FAILED_SHARE * world.events))
    row = np.arange(count)
    is_deferred = row % 4 > 0
    tenant = row % len(TENANTS)
    at = _moments(np.sort(chance.random(count)))
    size = pa.array(100 + row % 100)
    return pa.table(
        {
            "stage": codes(["landing", "ingestion"], is_deferred.astype(np.int64)),
            "reason": codes(["unreadable", "deferred"], is_deferred.astype(np.int64)),
            "detail": codes(
                ["not a message", "the instrument is not known yet"], is_deferred.astype(np.int64)
            ),
            "topic": codes(["outcome-events"], row * 0),
            "topic_id": _only(~is_deferred, codes([_topic_id(world)], row * 0)),
            "kafka_partition": pa.array(np.where(is_deferred, 0, row % PARTITIONS)),
            "kafka_offset": pa.array(np.where(is_deferred, 0, 10**9 + row)),
            "failed_at": at,
            "tenant_id": _only(is_deferred, codes(world.tenants, tenant)),
            "event_id": _only(is_deferred, uuids("def", world.number * _WORLD + row)),
            "event_bytes": _only(is_deferred, pa.array([b"-" * 80], pa.binary()).take(pa.array(row * 0))),
            "record_size_bytes": _only(~is_deferred, size),
            "body_hash": _only(is_deferred, _hashes(chance, count)),
            "data_class": _only(is_deferred, codes(DATA_CLASSES, tenant)),
            "received_at": at,
        }
    )


def _kinds(chance: np.random.Generator, shares: Mapping[str, float], count: int) -> npt.NDArray[np.object_]:
    weights = np.array(list(shares.values()))
    return np.array(list(shares), object)[chance.choice(len(weights), count, p=weights / weights.sum())]


def _begin(
    kind: npt.NDArray[np.object_], first_row: Integers, needing: tuple[str, ...], beginning: str
) -> None:
    """Where a group has nothing yet that an event could be about, the event becomes the one that begins."""
    asking = np.flatnonzero(np.isin(kind, [*needing, beginning]))
    _, firsts = np.unique(first_row[asking], return_index=True)
    kind[asking[firsts]] = beginning


def _newest(begins: Flags, first_row: Integers, chance: Floats, lively: int) -> Integers:
    """For each row the row that began one of its group's newest threads or sessions; itself if it begins."""
    beginnings = np.flatnonzero(begins)
    until_here = np.cumsum(begins)
    of_group: Integers = until_here - (until_here - begins)[first_row]
    back = (chance**2 * np.minimum(of_group, lively)).astype(np.int64)
    found = beginnings[np.maximum(0, until_here - 1 - back)]
    return np.where(begins, np.arange(len(begins)), found)


def _answered(kind: npt.NDArray[np.object_], thread: Integers, chance: Floats) -> Integers:
    """The act that each reply answers: its thread's first one, or the one before."""
    posts = np.flatnonzero(np.isin(kind, ("thread_started", "reply_posted")))
    in_thread = posts[np.lexsort((posts, thread[posts]))]
    before = np.arange(len(kind))
    before[in_thread[1:]] = in_thread[:-1]
    return np.where(chance < 0.5, thread, before)


def _common(
    world: World, raw_table: str, tenant: Integers, kind: npt.NDArray[np.object_], moment: Floats
) -> dict[str, pa.Array]:
    """What every event has."""
    count = len(moment)
    return {
        "tenant_id": codes(world.tenants, tenant),
        "data_class": codes(DATA_CLASSES, tenant),
        "body_hash": _hashes(world.chance, count),
        "event_id": uuids(raw_table[:3], world.number * _WORLD + np.arange(count)),
        "occurred_at": _moments(moment),
        "kind": pa.array(kind, pa.string()),
    }


def _arrived(world: World, rows: pa.Table, tenant: Integers) -> pa.Table:
    """With copies and conflicts, in the order of their arrival, with their places in Kafka."""
    chance, count = world.chance, rows.num_rows
    received = _seconds(rows["occurred_at"]) + _delays(chance, count)
    again = np.flatnonzero(chance.random(count) < COPY_SHARE)
    changed = np.flatnonzero(chance.random(count) < CONFLICT_SHARE)
    received = np.concatenate(
        [received, received[again] + DAY * chance.random(len(again)), received[changed] + DAY]
    )
    which = np.concatenate([np.arange(count), again, changed])
    is_changed = np.arange(len(which)) >= count + len(again)
    rows = rows.take(pa.array(which))
    hashes = rows["body_hash"].to_numpy() ^ is_changed.astype(np.int64)
    occurred = _seconds(rows["occurred_at"]) - world.years_before * 365 * DAY
    rows = rows.set_column(rows.column_names.index("body_hash"), "body_hash", pa.array(hashes))
    rows = rows.set_column(rows.column_names.index("occurred_at"), "occurred_at", _timestamps(occurred))
    rows = rows.append_column("received_at", _timestamps(received))
    rows = rows.append_column("is_late", pa.array(received - occurred > RETENTION_SECONDS))
    order = np.argsort(received, kind="stable")
    row = np.arange(len(order))
    return (
        rows.take(pa.array(order))
        .append_column("topic_id", codes([_topic_id(world)], row * 0))
        .append_column("kafka_partition", pa.array(row % PARTITIONS, pa.int32()))
        .append_column("kafka_offset", pa.array(row // (ENVELOPE * PARTITIONS), pa.int64()))
        .append_column("event_index", pa.array(row // PARTITIONS % ENVELOPE, pa.int32()))
    )


def _delays(chance: np.random.Generator, count: int) -> Floats:
    delays = chance.exponential(20.0, count) + 0.2
    lateness = chance.random(count)
    delays += (lateness < LATE_SHARE) * chance.random(count) * LATE_SECONDS
    return np.asarray(delays + (lateness < VERY_LATE_SHARE) * chance.random(count) * VERY_LATE_SECONDS)


def _retracted(
    world: World, raw_table: str, kind: npt.NDArray[np.object_], which: npt.NDArray[np.integer]
) -> pa.Array:
    is_there = kind == "event_retracted"
    return where(is_there, uuids(raw_table[:3], world.number * _WORLD + which[is_there]))


def _items(chance: np.random.Generator, count: int) -> pa.Array:
    """Answers to nine items each."""
    kind = pa.struct([("item", pa.int64()), ("value", pa.int32())])
    numbers = np.tile(np.arange(1, 10), count)
    values = chance.integers(0, 4, 9 * count)
    answers = pa.StructArray.from_arrays(
        [pa.array(numbers, pa.int64()), pa.array(values, pa.int32())], fields=list(kind)
    )
    return pa.ListArray.from_arrays(pa.array(np.arange(0, 9 * count + 1, 9), pa.int32()), answers)


def _features(chance: np.random.Generator, count: int) -> pa.Array:
    """All features of each of so many posts."""
    values = chance.random((count, len(FEATURES))).round(3)
    values[:, 0] = chance.integers(5, 200, count)
    return _pairs("code", FEATURES, "value", pa.array(values.ravel()), count)


def _answers(chance: np.random.Generator, count: int) -> pa.Array:
    """An answer to each question, of so many people."""
    given = [np.asarray(each, object)[chance.integers(0, len(each), count)] for each in ANSWERS.values()]
    answers = np.column_stack(given).ravel().tolist()
    return _pairs("question", [*ANSWERS], "answer", pa.array(answers, pa.string()), count)


def _pairs(first: str, names: Sequence[str], second: str, values: pa.Array, count: int) -> pa.Array:
    each = codes(names, np.tile(np.arange(len(names)), count))
    offsets = pa.array(np.arange(0, len(names) * count + 1, len(names)), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays([each, values], [first, second]))


def _alternating(flags: Flags, row: Integers) -> tuple[Flags, Flags]:
    return flags & (row % 2 == 0), flags & (row % 2 == 1)


def _only(flags: Flags, values: pa.Array) -> pa.Array:
    return where(flags, values.filter(pa.array(flags)))


def _group_refs(world: World, numbers: Integers) -> pa.Array:
    return pseudonyms("grp", world.groups_of * _WORLD + np.arange(world.groups)).take(pa.array(numbers))


def _people(world: World, numbers: Integers) -> pa.Array:
    return pseudonyms("prt", world.groups_of * _WORLD + np.arange(world.people)).take(pa.array(numbers))


def _hashes(chance: np.random.Generator, count: int) -> pa.Array:
    return pa.array(chance.integers(-(2**63), 2**63 - 1, count, dtype=np.int64))


def _topic_id(world: World) -> str:
    return f"world-{world.number}"


def _moments(through: Floats) -> pa.Array:
    return _timestamps(FIRST_SECOND + through * DAYS * DAY)


def _timestamps(seconds: Floats) -> pa.Array:
    return pa.array((seconds * 1000).astype(np.int64) * 1000).cast(pa.timestamp("us", "UTC"))


def _seconds(times: pa.ChunkedArray | pa.Array) -> Floats:
    return np.asarray(times.cast(pa.int64()).to_numpy() / 1e6)
