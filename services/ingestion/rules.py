"""Which events are refused: the rules of the contract's fields, compiled once per message type.

A rule has words, because a partner reads them. Text does not exist here: every string field is an
opaque reference, a code or a closed format, and tests/contracts proves that none lacks a rule. What
becomes of an accepted event is decided by `pseudonyms` and `envelopes`.
"""

from __future__ import annotations

import math
import re
import time
import zoneinfo
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from circles.common.v1.common_pb2 import FieldViolation
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

MAX_FUTURE_SECONDS = 300
"""Partners' clocks differ; further ahead than this the time is wrong."""

EARLIEST_SECONDS = -2_208_988_800
"""1900-01-01: nothing that is posted here is older."""

MAX_VALUE_CHARACTERS = 64
MAX_LIST_ITEMS = 200


class Rule(NamedTuple):
    """`holds` tells whether a value keeps the rule; `words` say the rule to the partner."""

    words: str
    holds: Callable[[Any], bool]


def _pattern(words: str, pattern: str) -> Rule:
    match = re.compile(pattern).fullmatch
    return Rule(words, lambda value: match(value) is not None)


def _optional(rule: Rule) -> Rule:
    return Rule(f"empty, or {rule.words}", lambda value: value == "" or rule.holds(value))


def _number(words: str, holds: Callable[[float], bool]) -> Rule:
    return Rule(words, lambda value: math.isfinite(value) and holds(value))


UUID = _pattern(
    "a UUID in lower case, as 00000000-0000-4000-8000-000000000000",
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
)
REFERENCE = _pattern(
    "an opaque reference: 1 to 64 of A-Z a-z 0-9 . _ : -, no e-mail, address, name or phrase",
    r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}",
)
CODE = _pattern(
    "a code: 1 to 48 of a-z 0-9 . _ -, beginning with a letter or digit", r"[a-z0-9][a-z0-9._-]{0,47}"
)
DOI = _pattern("a DOI, as 10.1000/182", r"10\.[0-9]{4,9}/[A-Za-z0-9._;()/:-]{1,100}")
CURRENCY = _pattern("an ISO 4217 code, as GBP", r"[A-Z]{3}")
TIME_ZONE = Rule("an IANA time zone, as Europe/London", lambda value: value in zoneinfo.available_timezones())
FINITE = _number("a finite number", lambda value: True)
NOT_NEGATIVE = _number("a number of at least 0", lambda value: value >= 0)
POSITIVE = _number("a number above 0", lambda value: value > 0)
MINUTES = Rule("minutes from 0 to 1440", lambda value: value <= 1440)
ITEM = Rule("an item number from 1 to 200", lambda value: 1 <= value <= 200)
AT_LEAST_ONE = Rule("at least 1", lambda value: value >= 1)
COUNT = Rule("at most 1000000000", lambda value: value <= 1_000_000_000)
YEAR = Rule("a year from 1900 to 2100, or 0", lambda value: value == 0 or 1900 <= value <= 2100)
ITEM_VALUE = Rule("a whole number from -1000 to 1000", lambda value: -1000 <= value <= 1000)
TRUTH = Rule("true or false", lambda value: True)

FIELD_RULES: dict[str, Rule] = {
    "event_id": UUID,
    "retracted_event_id": UUID,
    "group_ref": REFERENCE,
    "participant_ref": REFERENCE,
    "coder_ref": REFERENCE,
    "session_ref": REFERENCE,
    "thread_ref": REFERENCE,
    "act_ref": REFERENCE,
    "in_reply_to_act_ref": REFERENCE,
    "case_ref": REFERENCE,
    "study_code": CODE,
    "survey_code": CODE,
    "arm": CODE,
    "comparison_arm": CODE,
    "outcome": CODE,
    "instrument": CODE,
    "instrument_version": CODE,
    "time_point": CODE,
    "covariate": CODE,
    "theme": CODE,
    "dictionary": CODE,
    "stratum": CODE,
    "cluster": CODE,
    "question": CODE,
    "answer": CODE,
    "code": CODE,
    "circles.outcomes.v1.CovariateStated.value": CODE,
    "circles.participation.v1.TextFeature.value": FINITE,
    "circles.outcomes.v1.ItemAnswer.value": ITEM_VALUE,
    "doi": _optional(DOI),
    "currency": CURRENCY,
    "time_zone": _optional(TIME_ZONE),
    "total": _number("a number from -1000 to 1000", lambda value: -1000 <= value <= 1000),
    "weight": POSITIVE,
    "amount": NOT_NEGATIVE,
    "mean": FINITE,
    "sd": NOT_NEGATIVE,
    "estimate": FINITE,
    "standard_error": POSITIVE,
    "minutes": MINUTES,
    "item": ITEM,
    "n": AT_LEAST_ONE,
    "events": COUNT,
    "capacity": COUNT,
    "publication_year": YEAR,
    "reads_collected": TRUTH,
    "is_present": TRUTH,
}
"""By the field's full name where its meaning depends on the message, else by its name."""

OPTIONAL_FIELDS = {
    "circles.participation.v1.ParticipationEvent.participant_ref",  # see WITHOUT_PARTICIPANT
    "circles.participation.v1.ModerationActed.act_ref",
    "circles.participation.v1.MemberLeft.reason",
    "circles.participation.v1.SessionAttended.role",
    "circles.participation.v1.RiskRaised.risk_kind",
    "circles.outcomes.v1.OutcomeEvent.group_ref",
    "circles.outcomes.v1.QuestionnaireAnswered.study_code",
    "circles.outcomes.v1.QuestionnaireAnswered.time_point",
    "circles.outcomes.v1.SurveyAnswered.stratum",
    "circles.outcomes.v1.SurveyAnswered.cluster",
    "circles.outcomes.v1.CostRecorded.study_code",
    "circles.groups.v1.GroupFacts.format",
    "circles.groups.v1.GroupFacts.moderation",
    "circles.groups.v1.GroupFacts.condition",
    "circles.groups.v1.GroupFacts.population",
    "circles.studies.v1.StudyRegistered.result",
    "circles.studies.v1.StudyRegistered.risk_of_bias",
    "circles.studies.v1.ArmSummarised.instrument",
    "circles.studies.v1.ArmSummarised.time_point",
    "circles.studies.v1.EffectEstimated.instrument",
    "circles.studies.v1.EffectEstimated.time_point",
}

WITHOUT_PARTICIPANT = frozenset({"session_held", "session_cancelled", "event_retracted"})
"""Events of the group itself: nobody in particular does them."""


def violations(event: Message) -> list[FieldViolation]:
    """What is wrong with an event. Empty: nothing."""
    found: list[FieldViolation] = []
    kind = event.WhichOneof("kind")
    for check in _checks(event.DESCRIPTOR):
        check(event, "", found)
    if kind is None:
        names = ", ".join(field.name for field in event.DESCRIPTOR.oneofs_by_name["kind"].fields)
        found.append(FieldViolation(field="kind", rule=f"exactly one of {names}"))
    else:
        found.extend(_across_fields(event, kind))
    return found


Check = Callable[[Any, str, list[FieldViolation]], None]


@cache
def _checks(message: Descriptor) -> tuple[Check, ...]:
    return tuple(_check_of(field) for field in message.fields)


def _check_of(field: FieldDescriptor) -> Check:
    nested = field.message_type
    if nested is not None and nested.full_name == "google.protobuf.Timestamp":
        return _check_time(field.name)
    if nested is not None:
        return _check_list(field.name) if field.is_repeated else _check_nested(field.name)
    if field.enum_type is not None:
        return _check_code(field)
    return _check_value(field)


def _check_value(field: FieldDescriptor) -> Check:
    name = field.name
    rule = FIELD_RULES.get(field.full_name) or FIELD_RULES[name]
    has_presence = field.has_presence
    may_be_empty = field.full_name in OPTIONAL_FIELDS

    def check(message: Any, path: str, found: list[FieldViolation]) -> None:
        value = getattr(message, name)
        if (may_be_empty and value == "") or (has_presence and not message.HasField(name)):
            return
        if not rule.holds(value):
            found.append(violation(path + name, value, rule.words))

    return check


def _check_code(field: FieldDescriptor) -> Check:
    name, enum = field.name, field.enum_type
    assert enum is not None  # noqa: S101  # the caller chose this check by it
    allowed = set(enum.values_by_number)
    if field.full_name not in OPTIONAL_FIELDS:
        allowed.discard(0)
    words = "one of " + ", ".join(value.name for value in enum.values if value.number != 0)
    in_oneof = field.containing_oneof is not None

    def check(message: Any, path: str, found: list[FieldViolation]) -> None:
        value = getattr(message, name)
        if value not in allowed and not (in_oneof and not message.HasField(name)):
            found.append(violation(path + name, value, words))

    return check


def _check_time(name: str) -> Check:
    def check(message: Any, path: str, found: list[FieldViolation]) -> None:
        value = getattr(message, name)
        if not message.HasField(name):
            found.append(violation(path + name, "", "the time at which it occurred"))
        elif not EARLIEST_SECONDS <= value.seconds <= time.time() + MAX_FUTURE_SECONDS:
            rule = "a time between 1900 and 5 minutes from now (UTC)"
            found.append(violation(path + name, f"{value.seconds} s since 1970", rule))
        elif not 0 <= value.nanos < 1_000_000_000:
            found.append(violation(f"{path}{name}.nanos", value.nanos, "from 0 to 999999999"))

    return check


def _check_nested(name: str) -> Check:
    def check(message: Any, path: str, found: list[FieldViolation]) -> None:
        if message.HasField(name):
            nested = getattr(message, name)
            for inner in _checks(nested.DESCRIPTOR):
                inner(nested, f"{path}{name}.", found)

    return check


def _check_list(name: str) -> Check:
    def check(message: Any, path: str, found: list[FieldViolation]) -> None:
        elements = getattr(message, name)
        if len(elements) > MAX_LIST_ITEMS:
            found.append(
                violation(path + name, f"{len(elements)} entries", f"at most {MAX_LIST_ITEMS} entries")
            )
            return
        for i, element in enumerate(elements):
            for inner in _checks(element.DESCRIPTOR):
                inner(element, f"{path}{name}[{i}].", found)

    return check


def _across_fields(event: Any, kind: str) -> Iterator[FieldViolation]:
    """Rules that look at more than one field."""
    body = getattr(event, kind)
    if kind not in WITHOUT_PARTICIPANT and getattr(event, "participant_ref", None) == "":
        yield violation("participant_ref", "", f"{REFERENCE.words}; required with {kind}")
    if kind == "reply_posted" and body.act_ref == body.in_reply_to_act_ref:
        yield violation(
            "reply_posted.in_reply_to_act_ref", body.in_reply_to_act_ref, "another act than act_ref"
        )
    if kind == "questionnaire_answered" and bool(body.items) == body.HasField("total"):
        yield violation(kind, f"{len(body.items)} items", "either items or total, not both and not neither")
    if kind == "questionnaire_answered" and len({each.item for each in body.items}) != len(body.items):
        yield violation(f"{kind}.items", f"{len(body.items)} items", "each item once")
    if kind == "attribute_stated" and body.WhichOneof("attribute") is None:
        yield violation(kind, "", "exactly one attribute")
    if kind == "text_features_measured" and not body.features:
        yield violation(f"{kind}.features", "0 entries", "at least 1 entry")
    if kind == "arm_summarised" and body.HasField("events") and body.events > body.n:
        yield violation(f"{kind}.events", body.events, "at most n")
    if kind == "arm_summarised" and body.HasField("mean") != body.HasField("sd"):
        yield violation(kind, "", "mean and sd together")


def violation(field: str, value: object, rule: str) -> FieldViolation:
    """A violation with its value escaped and cut, so that it can be shown anywhere."""
    shown = str(value).encode("unicode_escape").decode("ascii")[:MAX_VALUE_CHARACTERS]
    return FieldViolation(field=field, value=shown, rule=rule)
