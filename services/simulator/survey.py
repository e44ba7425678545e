"""A household survey with planted odds ratios, drawn in strata and clusters with unequal chances: who is
likelier to be asked weighs less.

The odds ratios hold over all people and not only within a cluster: a cluster's own shift follows the bridge
distribution, which leaves a logistic model logistic (Wang & Louis 2003). Shares are of the population:
those of the people who were asked are others. A survey with published shares is `singapore`'s.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product

from services.client import Event
from services.client import events as made
from services.simulator.telling import Figure, agreed

SURVEY = "synthetic-survey"
ASKED_AT = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Truth:
    """Odds ratios of using an online group, all others equal; shares of the population."""

    users: float = 0.12
    """Of those with every reference answer."""
    age_35_49: float = 0.6
    age_50_64: float = 0.4
    age_65_and_over: float = 0.25
    """Against 18 to 34."""
    man: float = 0.7
    """Against women."""
    pre_university: float = 0.5
    """Against all other education."""
    mdd: float = 4.0
    ocd: float = 1.0
    treated_users: float = 0.4
    treated_others: float = 0.1
    """Who is in formal treatment, of users and of others."""
    icc: float = 0.05
    """How much alike people of a cluster are, on the logit scale: from 0 to less than 1."""

    def __post_init__(self) -> None:
        shares = {"users": self.users, "treated_users": self.treated_users,
                  "treated_others": self.treated_others}  # fmt: skip
        for name, share in shares.items():
            if not 0 < share < 1:
                raise ValueError(f"{name} is a share between 0 and 1")
        for name in ("age_35_49", "age_50_64", "age_65_and_over", "man", "pre_university", "mdd", "ocd"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is an odds ratio: above 0")
        if not 0 <= self.icc < 1:
            raise ValueError("icc is between 0 and 1, without 1")


Shares = Mapping[str, float]

POPULATION: Mapping[str, Shares] = {
    "age-group": {"18-34": 0.30, "35-49": 0.28, "50-64": 0.26, "65-and-over": 0.16},
    "gender": {"woman": 0.52, "man": 0.48},
    "education": {
        "primary": 0.15, "secondary": 0.25, "vocational": 0.15, "pre-university": 0.15, "university": 0.30
    },
    "mdd": {"yes": 0.10, "no": 0.90},
    "ocd": {"yes": 0.05, "no": 0.95},
}  # fmt: skip
"""Independent of one another."""

OTHERS: Mapping[str, Shares] = {
    "marital-status": {"never-married": 0.35, "married": 0.55, "separated": 0.06, "widowed": 0.04},
    "employment": {"employed": 0.68, "student": 0.08, "homemaker": 0.14, "unemployed": 0.10},
}
"""What goes with nothing."""

STRATA: Mapping[str, tuple[float, float]] = {
    "chinese": (0.70, 0.5), "malay": (0.15, 1.5), "indian": (0.10, 2.0), "other": (0.05, 3.0)
}  # fmt: skip
"""Share of the population, and how often somebody is asked. Strata are no cause of anything."""

ASKED: Mapping[str, float] = {"18-34": 2.0, "35-49": 1.0, "50-64": 0.7, "65-and-over": 0.5}
"""How often somebody of an age is asked: those who use groups more often, so weights matter."""

PER_CLUSTER = 15


def events(seed: int, people: int, truth: Truth) -> Iterator[Event]:
    """Clusters of fifteen people, each in a stratum. A weight is how many one stands for, on average 1."""
    rng = random.Random(seed)  # noqa: S311  # repeatable on purpose
    strata, mean = _strata(math.ceil(people / PER_CLUSTER)), _mean_weight()
    cluster, stratum, shift = "", "", 0.0
    for number in range(people):
        if number % PER_CLUSTER == 0:
            cluster = f"cluster-{number // PER_CLUSTER:04d}"
            stratum, shift = strata[number // PER_CLUSTER], _bridge(rng, truth)
        answers = _answers(rng, stratum, shift, truth)
        who, at = f"surveyed-{number:05d}", ASKED_AT + timedelta(minutes=number)
        weight = 1 / (STRATA[stratum][1] * ASKED[answers["age-group"]]) / mean
        yield agreed(who, at)
        yield made.survey_answered(participant=who, survey=SURVEY, weight=weight, stratum=stratum,
                                   cluster=cluster, answers=answers, at=at, event_id="")  # fmt: skip


def figures(_: int, truth: Truth) -> Sequence[Figure]:
    """Shares are exact: over all combinations of answers."""
    ratios = {
        "age-group: 35-49 against 18-34": truth.age_35_49,
        "age-group: 50-64 against 18-34": truth.age_50_64,
        "age-group: 65-and-over against 18-34": truth.age_65_and_over,
        "gender: man against woman": truth.man,
        "education: pre-university against university": truth.pre_university,
        "mdd: yes against no": truth.mdd,
        "ocd: yes against no": truth.ocd,
    }
    whole = _prevalence(truth)
    return (
        Figure("prevalence_share", whole),
        *(
            Figure("prevalence_share", _prevalence(truth, **{"age-group": age}), part=f"age-group: {age}")
            for age in POPULATION["age-group"]
        ),
        *(Figure("odds_ratio", ratio, part=part, of="all predictors") for part, ratio in ratios.items()),
        Figure("treated_among_users_share", truth.treated_users, part="formal treatment"),
        Figure("users_and_treated_share", whole * truth.treated_users, part="formal treatment"),
    )


def _answers(rng: random.Random, stratum: str, shift: float, truth: Truth) -> dict[str, str]:
    given = {question: _drawn(rng, shares) for question, shares in {**POPULATION, **OTHERS}.items()}
    ages = {age: share * ASKED[age] for age, share in POPULATION["age-group"].items()}
    given["age-group"] = _drawn(rng, ages)
    uses = rng.random() < _expit(_logit_of(given, truth) / _attenuation(truth) + shift)
    treated = rng.random() < (truth.treated_users if uses else truth.treated_others)
    ill = "yes" in (given["mdd"], given["ocd"])
    told = {"online-group": uses, "any-disorder": ill, "formal-treatment": treated}
    return given | {"ethnicity": stratum} | {name: "yes" if holds else "no" for name, holds in told.items()}


def _logit_of(given: Mapping[str, str], truth: Truth) -> float:
    """Of using an online group, over all clusters."""
    ratios = {
        "18-34": 1.0, "35-49": truth.age_35_49, "50-64": truth.age_50_64, "65-and-over": truth.age_65_and_over
    }  # fmt: skip
    found = math.log(truth.users / (1 - truth.users)) + math.log(ratios[given["age-group"]])
    for question, answer, ratio in (
        ("gender", "man", truth.man),
        ("education", "pre-university", truth.pre_university),
        ("mdd", "yes", truth.mdd),
        ("ocd", "yes", truth.ocd),
    ):
        found += math.log(ratio) if given[question] == answer else 0.0
    return found


def _prevalence(truth: Truth, **fixed: str) -> float:
    users = people = 0.0
    questions = {
        question: {fixed[question]: 1.0} if question in fixed else shares
        for question, shares in POPULATION.items()
    }
    for answers in product(*questions.values()):
        share = math.prod(shares[answer] for shares, answer in zip(questions.values(), answers, strict=True))
        people += share
        users += share * _expit(_logit_of(dict(zip(questions, answers, strict=True)), truth))
    return users / people


def _attenuation(truth: Truth) -> float:
    """What averaging over clusters does to a slope: their variance is (1/a² − 1) π²/3, so a² is 1 − icc."""
    return math.sqrt(1 - truth.icc)


def _bridge(rng: random.Random, truth: Truth) -> float:
    """The inverse of its distribution function."""
    a, u = _attenuation(truth), rng.uniform(1e-12, 1 - 1e-12)
    return math.log(math.sin(a * math.pi * u) / math.sin(a * math.pi * (1 - u))) / a if a < 1 else 0.0


def _strata(clusters: int) -> list[str]:
    """Of each cluster: as many in a stratum as it is asked for, rounded."""
    ends, whole, asked = [], 0.0, sum(share * often for share, often in STRATA.values())
    for share, often in STRATA.values():
        whole += share * often / asked
        ends.append(round(whole * clusters))
    return [stratum for stratum, a, b in zip(STRATA, [0, *ends], ends, strict=False) for _ in range(b - a)]


def _mean_weight() -> float:
    """Of those asked: their chances cancel, the population over who is asked."""
    asked = sum(share * often for share, often in STRATA.values())
    return 1 / (asked * sum(share * ASKED[age] for age, share in POPULATION["age-group"].items()))


def _drawn(rng: random.Random, shares: Shares) -> str:
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x))
