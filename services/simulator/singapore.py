"""A household survey built so that the weighted shares that Roystonn et al. 2020 print must come out: 6110
people, 53 of them users of online groups, who weigh 1.0 %.

Weights are raked to the printed shares, as a survey's own are. All else (what the others answer, who lives
where) is drawn from the seed and of no meaning; no odds ratio is planted here. That is `survey`'s.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from services.client import Event
from services.client import events as made
from services.simulator.telling import Figure, agreed

SURVEY = "roystonn-2020"
PEOPLE, USERS = 6110, 53
ASKED_AT = datetime(2016, 8, 1, tzinfo=UTC)
POPULATION = 3_000_000.0
"""What all weights come to; a round number."""

PRINTED: Mapping[tuple[str, str], float] = {
    ("gender", "woman"): 0.569,
    ("age-group", "18-34"): 0.822,
    ("marital-status", "never-married"): 0.794,
    ("employment", "employed"): 0.706,
    ("any-disorder", "yes"): 0.582,
}
"""Weighted shares of the users."""

FIGURES = (
    Figure("users", USERS, printed="53"),
    Figure("prevalence_share", 0.01, printed="1.0 %"),
    *(
        Figure("users_share", share, part=f"{question}: {answer}", printed=f"{share:.1%}".replace("%", " %"))
        for (question, answer), share in PRINTED.items()
    ),
)

Answers = dict[str, str]

OF_USERS: Mapping[str, Mapping[str, int]] = {
    "gender": {"woman": 30, "man": 23},
    "age-group": {"18-34": 42, "35-49": 8, "50-64": 2, "65-and-over": 1},
    "education": {"primary": 3, "secondary": 8, "vocational": 7, "pre-university": 2, "university": 33},
    "marital-status": {"never-married": 41, "married": 9, "separated": 2, "widowed": 1},
    "employment": {"employed": 37, "student": 10, "homemaker": 3, "unemployed": 3},
    "ethnicity": {"chinese": 17, "malay": 19, "indian": 14, "other": 3},
}
"""How many of the 53, before weights. Which answers go together is the seed's."""

OF_OTHERS: Mapping[str, Mapping[str, int]] = {
    "gender": {"woman": 50, "man": 50},
    "age-group": {"18-34": 28, "35-49": 29, "50-64": 28, "65-and-over": 15},
    "education": {"primary": 20, "secondary": 26, "vocational": 8, "pre-university": 17, "university": 29},
    "marital-status": {"never-married": 30, "married": 60, "separated": 6, "widowed": 4},
    "employment": {"employed": 70, "student": 6, "homemaker": 17, "unemployed": 7},
    "ethnicity": {"chinese": 30, "malay": 33, "indian": 32, "other": 5},
}
"""Of a hundred others."""

RATES = {"chinese": 2.5, "malay": 0.4, "indian": 0.28, "other": 0.65}
"""Weights before raking: who was asked less often than they are there weighs more."""


def events(seed: int) -> Iterator[Event]:
    """Strata are ethnicity by age; there are no clusters."""
    rng = random.Random(seed)  # noqa: S311  # repeatable on purpose
    users, others = _users(rng), [_other(rng) for _ in range(PEOPLE - USERS)]
    weights = [*_raked(users), *_scaled(others, 0.99 * POPULATION)]
    people = list(zip([*users, *others], weights, strict=True))
    rng.shuffle(people)
    for number, (answers, weight) in enumerate(people):
        who, at = f"singapore-{number:05d}", ASKED_AT + timedelta(minutes=30 * number)
        yield agreed(who, at)
        yield made.survey_answered(
            participant=who,
            survey=SURVEY,
            weight=weight,
            stratum=f"{answers['ethnicity']}-{answers['age-group']}",
            answers=answers,
            at=at,
            event_id="",
        )


def _users(rng: random.Random) -> list[Answers]:
    columns = {question: _shuffled(rng, counts) for question, counts in OF_USERS.items()}
    ill = _shuffled(rng, {"yes": 31, "no": 22})
    people = []
    for number in range(USERS):
        answers = {"online-group": "yes"} | {question: column[number] for question, column in columns.items()}
        people.append(answers | _disorders(rng, ill[number] == "yes", 0.5, 0.35, treated=0.4))
    return people


def _other(rng: random.Random) -> Answers:
    answers = {"online-group": "no"}
    for question, counts in OF_OTHERS.items():
        answers[question] = rng.choices(list(counts), weights=list(counts.values()))[0]
    return answers | _disorders(rng, rng.random() < 0.14, 0.42, 0.25, treated=0.03)


def _disorders(rng: random.Random, is_ill: bool, mdd: float, ocd: float, *, treated: float) -> Answers:
    """`mdd`, `ocd`: of those with any disorder, who may have both or another."""
    has_mdd, has_ocd = is_ill and rng.random() < mdd, is_ill and rng.random() < ocd
    told = {
        "mdd": has_mdd,
        "ocd": has_ocd,
        "any-disorder": is_ill,
        "formal-treatment": rng.random() < treated,
    }
    return {question: "yes" if holds else "no" for question, holds in told.items()}


def _shuffled(rng: random.Random, counts: Mapping[str, int]) -> list[str]:
    answers = [answer for answer, count in counts.items() for _ in range(count)]
    rng.shuffle(answers)
    return answers


def _raked(users: Sequence[Answers]) -> list[float]:
    """Iterative proportional fitting. Raises ArithmeticError when the answers of a seed cannot be fitted."""
    weights = [RATES[each["ethnicity"]] for each in users]
    for _ in range(1000):
        largest = 0.0
        for (question, answer), share in PRINTED.items():
            inside = [each[question] == answer for each in users]
            now = sum(w for w, is_in in zip(weights, inside, strict=True) if is_in) / sum(weights)
            largest = max(largest, abs(now - share))
            weights = [
                w * (share / now if is_in else (1 - share) / (1 - now))
                for w, is_in in zip(weights, inside, strict=True)
            ]
        if largest < 1e-14:
            break
    if largest > 1e-9:
        raise ArithmeticError("the answers of these 53 people fit no weights: take another seed")
    return [0.01 * POPULATION * each / sum(weights) for each in weights]


def _scaled(people: Sequence[Answers], total: float) -> list[float]:
    weights = [RATES[each["ethnicity"]] for each in people]
    return [each * total / sum(weights) for each in weights]
