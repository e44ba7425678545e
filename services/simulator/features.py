"""Three forums whose posts come with numbers, in one season of three years: a planted drift of feelings in
two of them, and a planted interruption of topics and of how much is written, in the last year alone.

Features are those of Low et al. 2020 as a partner would send them: counts as counts, to be divided by
words. There is no text anywhere, and nothing here says what 2020 was like.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from circles.groups.v1 import group_event_pb2 as groups

from services.client import Event
from services.client import events as made
from services.simulator.telling import Figure, agreed

DICTIONARY = "low-2020"
YEARS = (2018, 2019, 2020)
FIRST, LAST = (1, 1), (4, 20)
"""Month and day, both within."""
INTERRUPTED_ON = date(2020, 3, 11)
DAYS_PER_BIN = 2

GROUPS: Mapping[str, float] = {"worsening": 1.0, "recovering": -0.5, "steady": 0.0}
"""How far feelings drift in the last year, times `Truth.drift`."""

CONDITIONS = {
    "worsening": groups.CONDITION_ANXIETY,
    "recovering": groups.CONDITION_DEPRESSION,
    "steady": groups.CONDITION_GENERAL,
}

SCALED: Mapping[str, tuple[float, float]] = {
    "sent_compound": (0.1, 0.5), "sent_pos": (0.12, 0.02), "sent_neg": (0.14, 0.02), "sent_neu": (0.74, 0.03),
    "automated_readability_index": (6.0, 2.5), "flesch_reading_ease": (75.0, 10.0), "lix": (30.0, 6.0),
}  # fmt: skip
"""Mean and standard deviation of features that are no counts of words."""

COUNTED = (
    "positive_emotion", "negative_emotion", "anger", "anxiety", "sadness", "substance_use", "guns",
    "domestic_stress", "death", "negations",
)  # fmt: skip
"""Counts of words: RATE of all words, with SPREAD between posts."""
RATE, SPREAD = 0.05, 0.01

DRIFTING: Mapping[str, int] = {
    "sent_compound": -1, "sent_pos": -1, "positive_emotion": -1, "sent_neg": 1, "negative_emotion": 1,
    "anger": 1, "anxiety": 1, "sadness": 1,
}  # fmt: skip
"""Which way is worse. All other features stay as they are."""

TOPICS = ("economic_stress", "isolation", "home", "suicidality", "loneliness")


@dataclass(frozen=True)
class Truth:
    """`drift` is in standard deviations between posts; levels are ratios of rates after to before."""

    drift: float = 1.5
    """How much worse feelings are at the window's end than at its beginning, in `worsening`."""
    level_isolation: float = 2.0
    level_loneliness: float = 1.6
    level_home: float = 1.8
    level_economic_stress: float = 1.0
    level_suicidality: float = 1.0
    """Of the share of posts about a topic, from the interruption on."""
    level_posts: float = 1.3
    """Of how much is written, from the interruption on."""
    about: float = 0.15
    """Share of posts about each topic before."""

    def __post_init__(self) -> None:
        if not 0 < self.about < 1:
            raise ValueError("about is a share between 0 and 1")
        for topic in TOPICS:
            if not 0 < self.level(topic) * self.about < 1:
                raise ValueError(f"level_{topic} times about is a share between 0 and 1")
        if not 0 < self.level_posts < 100:
            raise ValueError("level_posts is a ratio above 0 and below 100")
        if abs(self.drift) > 4:
            raise ValueError("drift is between -4 and 4: a count cannot fall below 0")

    def level(self, topic: str) -> float:
        return float(getattr(self, f"level_{topic}"))


def events(seed: int, people: int, truth: Truth) -> Iterator[Event]:
    """About so many authors write once in each window, each in one forum."""
    rng = random.Random(seed)  # noqa: S311  # repeatable on purpose
    per_day = _posts_per_day(people)
    begins = datetime(YEARS[0], *FIRST, tzinfo=UTC)
    for group in GROUPS:
        yield made.group_registered(
            group=group,
            at=begins,
            format=groups.GROUP_FORMAT_ONLINE_FORUM,
            moderation=groups.MODERATION_PEER,
            condition=CONDITIONS[group],
            population=groups.POPULATION_ANYONE,
            reads_collected=False,
            event_id="",
        )
    known: set[str] = set()
    for year in YEARS:
        written = dict.fromkeys(GROUPS, 0)
        for day in _days(year):
            for group in GROUPS:
                rate = per_day * (truth.level_posts if day >= INTERRUPTED_ON else 1.0)
                for _ in range(_poisson(rng, rate)):
                    author = f"{group}-author-{written[group]:05d}"
                    written[group] += 1
                    at = datetime(*day.timetuple()[:3], tzinfo=UTC) + timedelta(seconds=rng.randrange(86_400))
                    if author not in known:
                        known.add(author)
                        yield agreed(author, at)
                    yield from _post(rng, group, author, at, truth)


def figures(people: int, truth: Truth) -> Sequence[Figure]:
    """`slope_times_r2` is what comes out in the long run of so many posts. Levels change by logarithms."""
    told = []
    for group, share in GROUPS.items():
        value = _slope_times_r2(truth.drift * share, _posts_per_day(people), truth)
        told += [
            Figure("slope_times_r2", sign * value if value else 0.0, name, str(YEARS[-1]), group)
            for name, sign in DRIFTING.items()
        ]
        levels = {topic: truth.level(topic) for topic in TOPICS} | {"n_authors": truth.level_posts}
        told += [Figure("level_change", math.log(level), name, of=group) for name, level in levels.items()]
    return told


def _post(rng: random.Random, group: str, author: str, at: datetime, truth: Truth) -> Iterator[Event]:
    act, numbers = f"{author}-{at.year}", _features(rng, group, at.date(), truth)
    yield made.thread_started(group=group, participant=author, thread=act, act=act, at=at, event_id="")
    yield made.text_features_measured(group=group, participant=author, act=act, dictionary=DICTIONARY,
                                      features=numbers, at=at, event_id="")  # fmt: skip


def _features(rng: random.Random, group: str, day: date, truth: Truth) -> dict[str, float]:
    words = rng.randint(40, 260)
    found: dict[str, float] = {
        "n_words": words,
        "n_chars": words * rng.randint(4, 6),
        "n_sents": words // 13 + 1,
    }
    through = _through(day)
    drift = truth.drift * GROUPS[group] * through if day.year == YEARS[-1] else 0.0
    for name, (mean, spread) in SCALED.items():
        found[name] = mean + spread * (DRIFTING.get(name, 0) * drift + rng.gauss(0, 1))
    for name in COUNTED:
        rate = RATE + SPREAD * (DRIFTING.get(name, 0) * drift + rng.gauss(0, 1))
        found[name] = words * max(0.0, rate)
    for topic in TOPICS:
        share = truth.about * (truth.level(topic) if day >= INTERRUPTED_ON else 1.0)
        found[topic] = rng.randint(1, 3) if rng.random() < share else 0
    return {name: round(value, 6) for name, value in found.items()}


def _slope_times_r2(drift: float, per_day: float, truth: Truth) -> float:
    """Of z-scored means of bins: the drift's variance over them against that of means of so many posts."""
    days = list(_days(YEARS[-1]))
    bins = math.ceil(len(days) / DAYS_PER_BIN)
    slope = drift / bins
    after = sum(day >= INTERRUPTED_ON for day in days) / len(days)
    # A bin's mean varies as 1 over its posts.
    noise = (1 - after + after / truth.level_posts) / (DAYS_PER_BIN * per_day)
    drifted = slope**2 * (bins**2 - 1) / 12
    return float(slope * drifted / (drifted + noise) ** 1.5)


def _posts_per_day(people: int) -> float:
    return people / (len(GROUPS) * len(list(_days(YEARS[-1]))))


def _days(year: int) -> Iterator[date]:
    day = date(year, *FIRST)
    while day <= date(year, *LAST):
        yield day
        day += timedelta(days=1)


def _through(day: date) -> float:
    """From 0 on the window's first day to 1 on its last."""
    first, last = date(day.year, *FIRST), date(day.year, *LAST)
    return (day - first).days / (last - first).days


def _poisson(rng: random.Random, mean: float) -> int:
    """Knuth's, for small means in parts."""
    count = 0
    while mean > 0:
        part = min(mean, 30.0)
        mean -= part
        limit, product = math.exp(-part), rng.random()
        while product > limit:
            count += 1
            product *= rng.random()
    return count
