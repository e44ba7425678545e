"""Surveys as the frames that the marts would give, without lake or events: one with the weighted shares that
Roystonn et al. 2020 print, and others drawn with planted odds ratios."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pipelines.evidence.inputs import Inputs
from tests.fakes.inputs import inputs

TENANT = "t"
ASKED_AT = pd.Timestamp("2026-03-02", tz="UTC")


@dataclass
class Respondent:
    """`answers`: by question. Without consent nothing but the person is known."""

    answers: dict[str, str]
    weight: float = 1.0
    stratum: str | None = None
    cluster: str | None = None
    consents: bool = field(default=True)


def survey_inputs(people: Sequence[Respondent], survey: str, data_class: str = "synthetic") -> Inputs:
    place = {"tenant_id": TENANT, "survey_code": survey}
    consenting = [(f"p{i:05d}", each) for i, each in enumerate(people) if each.consents]
    asked_at = ASKED_AT if consenting else pd.NaT
    return inputs(
        surveys=[
            place
            | {
                "data_class": data_class,
                "count_respondents": len(people),
                "count_consented": len(consenting),
                "first_answered_at": asked_at,
                "last_answered_at": asked_at,
            }
        ],
        survey_answers=[
            place
            | {
                "participant_id": ref,
                "question": question,
                "answer": answer,
                "survey_weight": each.weight,
                "survey_stratum": each.stratum,
                "survey_cluster": each.cluster,
            }
            for ref, each in consenting
            for question, answer in sorted(each.answers.items())
        ],
    )


# --- As it is printed -------------------------------------------------------------------------------------

PEOPLE, USERS = 6110, 53
PREVALENCE = 0.010
PRINTED = {
    ("gender", "woman"): 0.569,
    ("age-group", "18-34"): 0.822,
    ("marital-status", "never-married"): 0.794,
    ("employment", "employed"): 0.706,
    ("any-disorder", "yes"): 0.582,
}
"""Weighted shares of the users."""

_USERS: Mapping[str, Mapping[str, int]] = {
    "gender": {"woman": 28, "man": 25},
    "age-group": {"18-34": 41, "35-49": 9, "50-64": 2, "65-and-over": 1},
    "marital-status": {"never-married": 40, "married": 10, "separated": 2, "widowed": 1},
    "employment": {"employed": 36, "student": 11, "homemaker": 4, "unemployed": 2},
    "ethnicity": {"chinese": 20, "malay": 17, "indian": 12, "other": 4},
    "education": {"university": 30, "vocational": 9, "secondary": 8, "primary": 4, "pre-university": 2},
    "any-disorder": {"yes": 29, "no": 24},
    "formal-treatment": {"yes": 21, "no": 32},
}
_OTHERS: Mapping[str, Mapping[str, int]] = {
    "gender": {"woman": 3, "man": 3},
    "age-group": {"18-34": 2, "35-49": 2, "50-64": 2, "65-and-over": 1},
    "marital-status": {"married": 7, "never-married": 3, "separated": 1, "widowed": 1},
    "employment": {"employed": 9, "homemaker": 2, "student": 1, "unemployed": 1},
    "ethnicity": {"chinese": 5, "malay": 5, "indian": 5, "other": 1},
    "education": {"university": 5, "secondary": 5, "primary": 4, "pre-university": 3, "vocational": 2},
    "any-disorder": {"no": 14, "yes": 3},
    "formal-treatment": {"no": 20, "yes": 1},
}
"""How often each answer is given; of the others in turn."""


def roystonn() -> list[Respondent]:
    """Weights are raked, as a survey's own are, until the users' shares are those that are printed."""
    rng = np.random.default_rng(2020)
    columns = {
        question: rng.permutation([answer for answer, n in counts.items() for _ in range(n)])
        for question, counts in _USERS.items()
    }
    users = [{question: str(column[i]) for question, column in columns.items()} for i in range(USERS)]
    people = [
        Respondent({"online-group": "yes"} | _disorders(each, i), weight)
        for i, (each, weight) in enumerate(zip(users, _raked(users), strict=True))
    ]
    turns = {
        question: [answer for answer, n in counts.items() for _ in range(n)]
        for question, counts in _OTHERS.items()
    }
    others = PEOPLE - USERS
    drawn = {question: rng.choice(turn, others) for question, turn in turns.items()}
    for i in range(others):
        answers = {question: str(column[i]) for question, column in drawn.items()}
        people.append(Respondent({"online-group": "no"} | _disorders(answers, i), (1 - PREVALENCE) / others))
    for each in people:
        each.stratum = f"{each.answers['ethnicity']}-{each.answers['age-group']}"
    return people


def _disorders(answers: dict[str, str], i: int) -> dict[str, str]:
    """Some have both, some another one."""
    is_ill = answers["any-disorder"] == "yes"
    return answers | {
        "mdd": "yes" if is_ill and i % 3 else "no",
        "ocd": "yes" if is_ill and i % 2 else "no",
    }


def _raked(users: Sequence[Mapping[str, str]]) -> Sequence[float]:
    weights = np.ones(len(users))
    for _ in range(500):
        for (question, answer), share in PRINTED.items():
            inside = np.array([each[question] == answer for each in users])
            now = weights[inside].sum() / weights.sum()
            weights *= np.where(inside, share / now, (1 - share) / (1 - now))
    return [*(PREVALENCE * weights / weights.sum())]


# --- With planted odds ratios -----------------------------------------------------------------------------

ODDS = {("age-group", "35-49"): 0.6, ("age-group", "50-64"): 0.3, ("gender", "man"): 0.7, ("mdd", "yes"): 4.0}
"""Against the first answer, all others alike. Users are 15 % of those with the first answers."""
_SHARES = {"age-group": (0.4, 0.35, 0.25), "gender": (0.5, 0.5), "mdd": (0.85, 0.15)}
_ANSWERS = {"age-group": ("18-34", "35-49", "50-64"), "gender": ("woman", "man"), "mdd": ("no", "yes")}
PER_CLUSTER = 8


def planted(seed: int, n: int = 1200) -> Iterator[Respondent]:
    """Clusters of eight in three strata. Users are drawn more often: unweighted shares are wrong.

    Whoever is met is asked with a chance that hangs on stratum and answers; the weight is one over it.
    """
    rng = np.random.default_rng(seed)
    given = {name: rng.choice(_ANSWERS[name], 4 * n, p=shares) for name, shares in _SHARES.items()}
    logits = np.full(4 * n, math.log(0.15 / 0.85))
    for (question, answer), ratio in ODDS.items():
        logits += math.log(ratio) * (given[question] == answer)
    is_user = rng.random(4 * n) < 1 / (1 + np.exp(-logits))
    stratum = np.arange(4 * n) // PER_CLUSTER % 3
    chance = np.array([0.2, 0.3, 0.5])[stratum] * np.where(is_user, 1.0, 0.5)
    asked = np.flatnonzero(rng.random(4 * n) < chance)[:n]
    for i in asked:
        answers = {name: str(column[i]) for name, column in given.items()}
        yield Respondent(
            answers | {"online-group": "yes" if is_user[i] else "no"},
            float(1 / chance[i]),
            f"stratum-{stratum[i]}",
            f"cluster-{i // PER_CLUSTER}",
        )
