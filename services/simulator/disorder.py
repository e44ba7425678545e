"""What reaches a gateway of a community: late, twice, told by mistake and taken back, and with people who
are not to be counted.

Nothing of it changes what is true of the community: whatever is added is undone again, and who is added
does not consent, or no longer. So the figures must be those of the same community in perfect order. The
community itself is told elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from circles.groups.v1.group_event_pb2 import GroupEvent
from circles.outcomes.v1.outcome_event_pb2 import CONSENT_SCOPE_RESEARCH, OutcomeEvent
from circles.participation.v1.participation_event_pb2 import ParticipationEvent
from circles.studies.v1.study_event_pb2 import StudyEvent

from services.client import Event
from services.client import events as made
from services.simulator.naming import id_of

DELAY_SHARE = 0.25
"""A late event comes after up to this share of all others that should have come after it."""


@dataclass(frozen=True)
class Disorder:
    """Shares, from 0 to 1."""

    late: float = 0.0
    """Of events that are posted after later ones."""
    duplicated: float = 0.0
    """Of events that are posted twice under one id."""
    retracted: float = 0.0
    """Of events of which a mistaken one is posted as well, and taken back."""
    withdrawn: float = 0.0
    """Further people, as a share of those there are, who do what another does and take back their consent."""
    unconsenting: float = 0.0
    """Likewise, who never gave it."""

    def __post_init__(self) -> None:
        for name, share in asdict(self).items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is a share between 0 and 1")


def disordered(events: Iterable[Event], disorder: Disorder, seed: int) -> list[Event]:
    """The events in the order in which they are to be posted: the same for a seed."""
    rng = random.Random(f"disorder {seed}")  # noqa: S311  # repeatable on purpose
    told = _with_others(list(events), rng, disorder)
    return _shuffled(list(_with_mistakes(told, rng, disorder.retracted)), rng, disorder)


def count_people(events: Iterable[Event]) -> int:
    """Who consents to research."""
    return len(set(_consenting(events)))


# --- In another order, and twice --------------------------------------------------------------------------


def _shuffled(events: Sequence[Event], rng: random.Random, disorder: Disorder) -> list[Event]:
    most = max(2.0, DELAY_SHARE * len(events))
    places: list[tuple[float, int, Event]] = []
    for number, event in enumerate(events):
        is_late, is_twice = rng.random() < disorder.late, rng.random() < disorder.duplicated
        place = number + (rng.uniform(1.5, most) if is_late else 0.0)
        places.append((place, number, event))
        if is_twice:
            places.append((place + rng.uniform(0.5, most), number, event))
    return [event for _, _, event in sorted(places, key=lambda each: each[:2])]


# --- Told by mistake, and taken back ----------------------------------------------------------------------


def _with_mistakes(events: Iterable[Event], rng: random.Random, share: float) -> Iterator[Event]:
    for event in events:
        yield event
        if share and rng.random() < share:
            mistaken, kind = _copy(event), event.WhichOneof("kind")
            if kind in ("thread_started", "reply_posted"):
                # Otherwise it would be the same message, told twice.
                getattr(mistaken, kind).act_ref += ".x"
            mistaken.event_id = id_of("mistaken", mistaken)
            retraction = _retraction(mistaken)
            retraction.event_id = id_of("retracted", retraction)
            yield mistaken
            yield retraction


def _retraction(event: Event) -> Event:
    at, taken_back = event.occurred_at.ToDatetime(UTC), event.event_id
    if isinstance(event, ParticipationEvent):
        return made.participation_event_retracted(
            group=event.group_ref, retracted_event_id=taken_back, at=at, event_id=""
        )
    if isinstance(event, OutcomeEvent):
        return made.outcome_event_retracted(
            participant=event.participant_ref, retracted_event_id=taken_back, at=at, event_id=""
        )
    if isinstance(event, GroupEvent):
        return made.group_event_retracted(
            group=event.group_ref, retracted_event_id=taken_back, at=at, event_id=""
        )
    return made.study_event_retracted(
        study=event.study_code, retracted_event_id=taken_back, at=at, event_id=""
    )


# --- People who are not to be counted ---------------------------------------------------------------------


def _with_others(events: list[Event], rng: random.Random, disorder: Disorder) -> list[Event]:
    """Each stands behind the one whose acts these were first."""
    people = list(dict.fromkeys(_consenting(events)))
    others = {
        why: {who for who in people if rng.random() < share}
        for why, share in (("withdrawn", disorder.withdrawn), ("unconsenting", disorder.unconsenting))
    }
    last = {_person(event): event.occurred_at.ToDatetime(UTC) for event in events}
    told: list[Event] = []
    for event in events:
        told.append(event)
        told += [
            _of_another(event, why)
            for why, shadowed in others.items()
            if _person(event) in shadowed and not (why == "unconsenting" and _is_consent(event))
        ]
    return told + [_withdrawal(who, last[who]) for who in people if who in others["withdrawn"]]


def _of_another(event: Event, why: str) -> Event:
    """The same, by somebody else: other messages, in the same threads and in threads of their own."""
    other, suffix = _copy(event), f".{why[0]}"
    assert not isinstance(other, StudyEvent | GroupEvent)  # noqa: S101  # nobody does those
    other.participant_ref += suffix
    kind = other.WhichOneof("kind")
    if kind in ("thread_started", "reply_posted", "text_features_measured"):
        getattr(other, kind).act_ref += suffix
    if kind == "thread_started":
        other.thread_started.thread_ref += suffix  # type: ignore[union-attr]
    other.event_id = id_of(why, other)
    return other


def _withdrawal(who: str, at: datetime) -> Event:
    """At the end: nothing of theirs is counted, whenever it was."""
    ref = f"{who}.w"
    event = made.consent_withdrawn(participant=ref, scope=CONSENT_SCOPE_RESEARCH, at=at, event_id="")
    event.event_id = id_of("withdrawn", event)
    return event


def _consenting(events: Iterable[Event]) -> Iterator[str]:
    for event in events:
        if _is_consent(event):
            yield _person(event)


def _is_consent(event: Event) -> bool:
    return isinstance(event, OutcomeEvent) and event.HasField("consent_given")


def _person(event: Event) -> str:
    return event.participant_ref if isinstance(event, OutcomeEvent | ParticipationEvent) else ""


def _copy(event: Event) -> Event:
    copy = type(event)()
    copy.CopyFrom(event)  # type: ignore[arg-type]  # of its own type
    copy.event_id = ""
    return copy
