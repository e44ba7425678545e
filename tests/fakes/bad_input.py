"""Input that the gateway must refuse, each kind with the field and a word of the rule that it is told.

An event that is wrong in one way and otherwise good; what is wrong with whole calls stands in
tests/integration/test_bad_calls.py.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from circles.groups.v1.group_event_pb2 import GroupEvent
from circles.outcomes.v1.outcome_event_pb2 import COST_CATEGORY_GROUP, OutcomeEvent
from circles.participation.v1.participation_event_pb2 import ParticipationEvent
from circles.studies.v1.study_event_pb2 import EFFECT_SCALE_HEDGES_G, StudyEvent


def now() -> int:
    """At each call: a session of tests is longer than the gateway's five minutes."""
    return int(time.time())


class Bad(NamedTuple):
    """`field` and `words` are what the violation must name."""

    name: str
    event: Any
    field: str
    words: str


def good_events() -> list[Any]:
    """One good event of each domain; new ids each time."""
    return [attended(), answered(), registered(), estimated()]


def bad_events() -> Iterator[Bad]:
    yield from _identities()
    yield from _references()
    yield from _times()
    yield from _kinds_and_numbers()
    yield from _questionnaires()
    yield from _codes_of_people()
    yield from _groups()
    yield from _studies()
    yield from _sizes()


def attended(change: Callable[[Any], object] = lambda event: None) -> Any:
    event = _of_a_minute_ago(ParticipationEvent(group_ref="g1", participant_ref="p1"))
    event.session_attended.session_ref = "s1"
    change(event)
    return event


def answered(change: Callable[[Any], object] = lambda event: None) -> Any:
    event = _of_a_minute_ago(OutcomeEvent(participant_ref="p1"))
    answer = event.questionnaire_answered
    answer.instrument, answer.instrument_version, answer.total = "phq-9", "1", 12
    change(event)
    return event


def registered(change: Callable[[Any], object] = lambda event: None) -> Any:
    event = _of_a_minute_ago(GroupEvent(group_ref="g1"))
    event.group_registered.facts.time_zone = "Europe/London"
    change(event)
    return event


def estimated(change: Callable[[Any], object] = lambda event: None) -> Any:
    event = _of_a_minute_ago(StudyEvent(study_code="a-study"))
    estimate = event.effect_estimated
    estimate.arm, estimate.comparison_arm, estimate.outcome = "group", "waiting-list", "depression"
    estimate.scale, estimate.estimate, estimate.standard_error = EFFECT_SCALE_HEDGES_G, -0.3, 0.1
    change(event)
    return event


def _of_a_minute_ago(event: Any) -> Any:
    event.event_id = str(uuid.uuid4())
    event.occurred_at.FromSeconds(now() - 60)
    return event


def _setting(field: str, value: Any) -> Callable[[Any], object]:
    """Sets `a.b.c` of an event."""

    def change(event: Any) -> None:
        *parents, leaf = field.split(".")
        for parent in parents:
            event = getattr(event, parent)
        setattr(event, leaf, value)

    return change


def _identities() -> Iterator[Bad]:
    identifier = str(uuid.uuid4())
    for name, value in {
        "no event_id": "",
        "a number as event_id": "17",
        "an event_id in capitals": identifier.upper(),
        "an event_id without hyphens": identifier.replace("-", ""),
        "an event_id in braces": f"{{{identifier}}}",
    }.items():
        yield Bad(name, attended(_setting("event_id", value)), "event_id", "UUID")
    retraction = attended(_setting("event_retracted.retracted_event_id", "the-last-one"))
    yield Bad("a retraction of no id", retraction, "event_retracted.retracted_event_id", "UUID")


def _references() -> Iterator[Bad]:
    for name, value in {
        "an e-mail": "jane.doe@example.org",
        "an e-mail without its sign": "jane.doe.gmail.com",
        "a name": "Jane Doe",
        "a name with a diaeresis": "Zoë",
        "a URL": "https://example.org/u/1",
        "a web address": "www.example.org",
        "a telephone link": "tel:0770090012",
        "a telephone number with a plus": "+447700900123",
        "a sentence": "I feel sad today",
        "a sentence with hyphens": "i-feel-very-sad-today",
        "65 signs": "x" * 65,
        "a NUL": "a\0b",
        "a line end": "member\n",
        "bidi control": "x\u202ey",
        "an emoji": "member-🙂",
        "SQL": "'; DROP TABLE members; --",
        "Jinja": "{{config}}",
        "HTML": "<b>x</b>",
        "a spreadsheet formula": "=1+1",
        "a path": "../../etc/passwd",
    }.items():
        field = "participant_ref"
        yield Bad(f"{name} as reference", attended(_setting(field, value)), field, "opaque reference")
    yield Bad("no group", attended(_setting("group_ref", "")), "group_ref", "opaque reference")
    yield Bad("nobody did it", attended(_setting("participant_ref", "")), "participant_ref", "required")
    case = attended(_setting("risk_raised.case_ref", "Jane from the Tuesday group"))
    yield Bad("a name as case", case, "risk_raised.case_ref", "opaque reference")


def _times() -> Iterator[Bad]:
    for name, seconds in {
        "a day ahead": now() + 86_400,
        "ten minutes ahead": now() + 600,
        "the year 9999": 253_402_300_799,
        "the year 1": -62_135_596_800,
        "a second before 1900": -2_208_988_801,
    }.items():
        event = attended(_setting("occurred_at.seconds", seconds))
        yield Bad(name, event, "occurred_at", "between 1900 and 5 minutes from now")
    yield Bad("no time", attended(lambda event: event.ClearField("occurred_at")), "occurred_at", "the time")
    nanos = attended(_setting("occurred_at.nanos", -1))
    yield Bad("a negative part of a second", nanos, "occurred_at.nanos", "999999999")


def _kinds_and_numbers() -> Iterator[Bad]:
    kind = attended(lambda event: event.ClearField("session_attended"))
    yield Bad("no kind", kind, "kind", "exactly one of")
    yield Bad("a kind that is not known yet", _of_a_newer_kind(), "kind", "exactly one of")
    for name, value in {"a day and a minute": 1441, "the largest number": 2**32 - 1}.items():
        field = "session_attended.minutes"
        yield Bad(name, attended(_setting(field, value)), field, "at most 1440")
    role = attended(_setting("session_attended.role", 99))
    yield Bad("a role that is none", role, "session_attended.role", "one of ATTENDANCE_ROLE")
    reaction = attended(_setting("reaction_given.act_ref", "a1"))
    yield Bad("no reaction", reaction, "reaction_given.reaction", "one of REACTION")
    reply = attended(_setting("reply_posted.thread_ref", "t1"))
    reply.reply_posted.act_ref = reply.reply_posted.in_reply_to_act_ref = "a1"
    yield Bad("a reply to itself", reply, "reply_posted.in_reply_to_act_ref", "another act")
    yield from _features()


def _features() -> Iterator[Bad]:
    field = "text_features_measured.features"
    measured = [_setting("text_features_measured.act_ref", "a1")]
    for name, count, value in (("no feature", 0, 0.0), ("201 features", 201, 0.5), ("NaN", 1, math.nan)):
        event = attended(measured[0])
        event.text_features_measured.dictionary = "vader-3.3"
        for i in range(count):
            event.text_features_measured.features.add(code=f"f{i}", value=value)
        is_nan = math.isnan(value)
        yield Bad(
            name, event, f"{field}[0].value" if is_nan else field, "finite" if is_nan else "200 entries"
        )


def _questionnaires() -> Iterator[Bad]:
    path = "questionnaire_answered"
    for name, value in {
        "NaN": math.nan,
        "infinity": math.inf,
        "-infinity": -math.inf,
        "1e308": 1e308,
    }.items():
        yield Bad(f"a total of {name}", answered(_setting(f"{path}.total", value)), f"{path}.total", "1000")
    too_high = answered(_setting(f"{path}.total", 28))
    yield Bad("more than the instrument's range", too_high, f"{path}.total", "from 0 to 27")
    neither = answered(lambda event: event.questionnaire_answered.ClearField("total"))
    yield Bad("neither items nor total", neither, path, "either items or total")
    both = answered()
    both.questionnaire_answered.items.add(item=1, value=1)
    yield Bad("items and total", both, path, "either items or total")
    yield _items("an item twice", f"{path}.items", "each item once", [(1, 1), (1, 2)])
    yield _items("an item that there is not", f"{path}.items[0].item", "from 1 to 9", [(10, 1)])
    yield _items("an item's value that there is not", f"{path}.items[0].value", "from 0 to 3", [(1, 4)])
    yield _items("item 0", f"{path}.items[0].item", "at least 1", [(0, 1)])
    yield _items("items of a closed instrument", f"{path}.items", "closed", [(1, 1)], "bdi-ii")
    yield _items("201 items", f"{path}.items", "at most 200", [(i, 0) for i in range(201)])


def _items(name: str, field: str, words: str, items: list[tuple[int, int]], instrument: str = "phq-9") -> Bad:
    event = answered(lambda event: event.questionnaire_answered.ClearField("total"))
    event.questionnaire_answered.instrument = instrument
    for item, value in items:
        event.questionnaire_answered.items.add(item=item, value=value)
    return Bad(name, event, field, words)


def _codes_of_people() -> Iterator[Bad]:
    field = "questionnaire_answered.study_code"
    for name, value in {
        "an e-mail": "jane@example.org",
        "a telephone number": "07700900123",
        "a telephone number with dots": "07700.900.123",
        "a birthday": "1980-05-17",
        "capitals": "BTB",
        "a sentence": "i-am-not-well-at-all-today",
        "49 signs": "x" * 49,
        "a line end": "a-study\n",
    }.items():
        yield Bad(f"{name} as code", answered(_setting(field, value)), field, "a code")
    attribute = answered(lambda event: event.attribute_stated.SetInParent())
    yield Bad("no attribute", attribute, "attribute_stated.attribute", "exactly one of")
    gender = answered(_setting("attribute_stated.gender", 77))
    yield Bad("a gender that is none", gender, "attribute_stated.gender", "one of GENDER")
    consent = answered(lambda event: event.consent_given.SetInParent())
    yield Bad("consent to nothing", consent, "consent_given.scope", "one of CONSENT_SCOPE")
    yield from _surveys_and_costs()


def _surveys_and_costs() -> Iterator[Bad]:
    for name, weight in {"no weight": 0.0, "a negative weight": -1.0, "a weight of NaN": math.nan}.items():
        event = answered(_setting("survey_answered.survey_code", "a-survey"))
        event.survey_answered.weight = weight
        yield Bad(name, event, "survey_answered.weight", "above 0")
    costs = {
        "an unknown currency": ("XXX", 1.0, "currency", "ISO 4217"),
        "a debt": ("GBP", -1.0, "amount", "at least 0"),
    }
    for name, (currency, amount, leaf, words) in costs.items():
        event = answered(_setting("cost_recorded.category", COST_CATEGORY_GROUP))
        event.cost_recorded.currency, event.cost_recorded.amount = currency, amount
        yield Bad(name, event, f"cost_recorded.{leaf}", words)


def _groups() -> Iterator[Bad]:
    facts = "group_registered.facts"
    for name, leaf, value, words in (
        ("a time zone that there is not", "time_zone", "Europe/Atlantis", "IANA"),
        ("a path as time zone", "time_zone", "../../etc/passwd", "IANA"),
        ("a format that is none", "format", 42, "one of GROUP_FORMAT"),
        ("a negative code", "moderation", -1, "one of MODERATION"),
        ("more places than people", "capacity", 2**32 - 1, "at most 1000000000"),
    ):
        yield Bad(name, registered(_setting(f"{facts}.{leaf}", value)), f"{facts}.{leaf}", words)


def _studies() -> Iterator[Bad]:
    for name, leaf, value, words in (
        ("no standard error", "standard_error", 0.0, "above 0"),
        ("an infinite standard error", "standard_error", math.inf, "above 0"),
        ("an estimate that is no number", "estimate", math.nan, "finite"),
        ("a scale that is none", "scale", 99, "one of EFFECT_SCALE"),
    ):
        yield Bad(
            name, estimated(_setting(f"effect_estimated.{leaf}", value)), f"effect_estimated.{leaf}", words
        )
    for name, leaf, stated, words in (
        ("a DOI that is a URL", "doi", "https://doi.org/10.1000/182", "a DOI"),
        ("a year before the printing press", "publication_year", 1400, "1900"),
    ):
        event = estimated(_setting("study_registered.design", 1))
        yield Bad(
            name, _changed(event, f"study_registered.{leaf}", stated), f"study_registered.{leaf}", words
        )
    summaries: list[tuple[str, dict[str, Any], str, str]] = [
        ("an arm of nobody", {"n": 0}, "arm_summarised.n", "at least 1"),
        ("more events than people", {"n": 10, "events": 11}, "arm_summarised.events", "at most n"),
        ("a mean without its spread", {"n": 10, "mean": 1.0}, "arm_summarised", "mean and sd together"),
        ("a negative spread", {"n": 10, "mean": 1.0, "sd": -1.0}, "arm_summarised.sd", "at least 0"),
    ]
    for name, values, field, words in summaries:
        event = estimated(_setting("arm_summarised.arm", "group"))
        for leaf, value in {"outcome": "depression", **values}.items():
            setattr(event.arm_summarised, leaf, value)
        yield Bad(name, event, field, words)


def _sizes() -> Iterator[Bad]:
    large = ParticipationEvent.FromString(attended().SerializeToString() + _unknown(40_000))
    yield Bad("an event of 40 kB", large, "event", "at most 32768 bytes")


def _changed(event: Any, field: str, value: Any) -> Any:
    _setting(field, value)(event)
    return event


def _of_a_newer_kind() -> Any:
    event = attended(lambda event: event.ClearField("session_attended"))
    return ParticipationEvent.FromString(event.SerializeToString() + _unknown(3))


def _unknown(size: int) -> bytes:
    """Field 2000 of that many bytes, which no version of the contract has."""
    length, rest = [], size
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([0x82, 0x7D, *length, rest]) + b"x" * size
