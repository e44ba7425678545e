"""What is remembered of people whose events have left the log. Pure.

Every field is a minimum, a maximum or the newest of its kind: joining what is known with what is known
already changes nothing, in whatever order and as often as it comes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.engagement.layout import (
    ATTENDED,
    FAR,
    JOINED,
    LEFT,
    MEMBER_ROLES,
    MODERATED,
    NOBODY,
    PERSON,
    RETRACTED,
    Events,
    People,
)


def nobody() -> People:
    return np.zeros(0, PERSON)


def remembered(events: Events) -> People:
    """What `events` leave, in order of person. Those that were taken back leave nothing."""
    counts = (
        (events["person"] != NOBODY) & (events["hidden"] & RETRACTED == 0) & (events["kind"] <= MODERATED)
    )
    events = events[counts]
    persons, place = np.unique(events["person"], return_inverse=True)
    people = np.zeros(len(persons), PERSON)
    people["person"] = persons
    for field in ("first", "acted"):
        people[field] = FAR
    for field in ("last", "moved", "left"):
        people[field] = -FAR
    at, kind = events["at"], events["kind"]
    is_activity = is_active(events)
    np.minimum.at(people["first"], place[is_activity], at[is_activity])
    np.maximum.at(people["last"], place[is_activity], at[is_activity])
    is_act = (kind >= ATTENDED) & (kind != MODERATED)
    is_act &= (kind != ATTENDED) | np.isin(events["role"], MEMBER_ROLES)
    np.minimum.at(people["acted"], place[is_act], at[is_act])
    np.maximum.at(people["left"], place[kind == LEFT], at[kind == LEFT])
    people["has_joined"][place[kind == JOINED]] = 1
    moves = np.nonzero((kind == JOINED) | (kind == LEFT))[0]
    # The newest move decides; of both in one second the leaving, which therefore comes last.
    moves = moves[np.lexsort((kind[moves], at[moves]))]
    people["moved"][place[moves]] = at[moves]
    people["is_in"][place[moves]] = kind[moves] == JOINED
    return people


def joined(known: People, news: People) -> People:
    """Both together, in order of person. `known` may be changed."""
    if len(news) == 0 or len(known) == 0:
        return known if len(news) == 0 else news
    place = np.searchsorted(known["person"], news["person"])
    is_known = known["person"][np.minimum(place, len(known) - 1)] == news["person"]
    _join(known, place[is_known], news[is_known])
    return np.insert(known, place[~is_known], news[~is_known]) if not is_known.all() else known


def _join(known: People, place: np.ndarray, news: People) -> None:
    for field in ("first", "acted"):
        known[field][place] = np.minimum(known[field][place], news[field])
    for field in ("last", "left"):
        known[field][place] = np.maximum(known[field][place], news[field])
    known["has_joined"][place] |= news["has_joined"]
    before = known["moved"][place]
    is_in = np.where(news["moved"] > before, news["is_in"], known["is_in"][place])
    is_in = np.where(news["moved"] == before, news["is_in"] & known["is_in"][place], is_in)
    known["is_in"][place] = is_in
    known["moved"][place] = np.maximum(before, news["moved"])


def is_active(events: Events) -> NDArray[np.bool_]:
    """Which of the events make a person active."""
    kind = events["kind"]
    is_activity = (kind == JOINED) | ((kind >= ATTENDED) & (kind <= MODERATED))
    found: NDArray[np.bool_] = is_activity & (events["person"] != NOBODY)
    return found
