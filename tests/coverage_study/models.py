"""Scenarios of people: in groups, measured repeatedly, lost on the way, not allocated by chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from pipelines.evidence.estimates import Estimate
from pipelines.evidence.gee import Correction, Correlation, fit_gee
from pipelines.evidence.mixed import fit_mixed
from pipelines.evidence.propensity import overlap_difference
from pipelines.evidence.regression import ancova, fit_linear
from tests.coverage_study import exact
from tests.coverage_study.declarations import (
    Chance,
    Expected,
    Figure,
    Floats,
    Scenario,
    about,
    exactly,
)

Booleans = npt.NDArray[np.bool_]

SD = 5.0
"""Of scores, about that of a PHQ-9."""
ICC = 0.1
"""Of groups."""
CORRECTIONS: tuple[Correction, ...] = ("none", "Kauermann-Carroll", "Mancl-DeRouen")


class People(NamedTuple):
    """Outcome (n,), design (n, p), whose or which group's the rows are, and the contrast (p,) asked for."""

    y: Floats
    x: Floats
    labels: Sequence[int | None]
    contrast: list[float]


def scenarios() -> Iterator[Scenario]:
    yield from _groups()
    yield from _covariates()
    yield from _repeated()
    yield from (_met(groups, 5) for groups in (4, 6, 12))
    yield from _ragged()
    yield from _dropout()
    yield from _overlap()


# --- Groups: CR2, and what comes of ignoring them ----------------------------------------------------------


def _groups() -> Iterator[Scenario]:
    for arm, reference in (((10,) * 4, (10,) * 8), ((10,) * 10, (10,) * 10)):
        n = len(arm), len(reference)
        share = exact.two_means(n, exact.t(exact.satterthwaite(n)))
        yield _of_groups(arm, reference, exactly(share, "quadrature: of equal groups only their means count"))
    source = "Pustejovsky & Tipton 2018: near nominal for few unequal clusters, not exact"
    near = Expected(0.92, 0.975, source)
    yield _of_groups((3, 5, 8, 12, 30), (4, 6, 9, 14, 25), near)
    yield _of_groups((5, 12, 30), (3, 4, 6, 8, 10, 12, 15, 20, 30), near)
    yield from (_partly_grouped(groups, 8) for groups in (6, 12))


def _partly_grouped(groups: int, size: int) -> Scenario:
    people = groups * size
    share = exact.partly_grouped(groups, size, people, ICC)
    labels: Sequence[int | None] = [*(i // size for i in range(people)), *[None] * people]
    return Scenario(
        f"partly-grouped-{groups}",
        f"an arm of {groups} groups of {size} (ICC {ICC}), as many people alone in the other",
        _grouped(np.column_stack([np.ones(2 * people), np.arange(2 * people) < people]), labels),
        2,
        (
            Figure(
                "regression, CR2",
                _cr2,
                exactly(share, "quadrature; the freedom is of independent people, who these are not"),
            ),
        ),
    )


def _of_groups(arm: tuple[int, ...], reference: tuple[int, ...], expected: Expected) -> Scenario:
    sizes = (*arm, *reference)
    labels: Sequence[int | None] = [group for group, size in enumerate(sizes) for _ in range(size)]
    is_arm = np.array([label is not None and label < len(arm) for label in labels], float)
    ignored = exact.without_groups((np.array(arm, float), np.array(reference, float)), ICC)
    return Scenario(
        f"groups-{len(arm)}-{len(reference)}-{'equal' if len(set(sizes)) == 1 else 'unequal'}",
        f"groups of {_listed(arm)} people against groups of {_listed(reference)}, ICC {ICC}",
        _grouped(np.column_stack([np.ones(len(labels)), is_arm]), labels),
        2,
        (
            Figure("regression, CR2", _cr2, expected),
            Figure(
                "regression, HC2: groups ignored",
                lambda data: fit_linear(data.y, data.x).contrast(data.contrast),
                about(ignored, 0.03, "normal, by the design effect (Kish 1965): why groups must be told"),
            ),
        ),
    )


def _grouped(x: Floats, labels: Sequence[int | None]) -> Callable[[Chance], People]:
    """Scores with variance SD² in both arms, 2 higher in the arm; who is alone has no group."""
    is_grouped = np.array([label is not None for label in labels])
    codes = np.array([label or 0 for label in labels])

    def draw(chance: Chance) -> People:
        shared = np.where(is_grouped, math.sqrt(ICC) * chance.normal(size=codes.max() + 1)[codes], 0)
        own = np.where(is_grouped, math.sqrt(1 - ICC), 1) * chance.normal(size=len(codes))
        return People(10 + 2 * x[:, 1] + SD * (shared + own), x, labels, [0, 1])

    return draw


def _listed(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes))


def _cr2(data: People) -> Estimate:
    return fit_linear(data.y, data.x, data.labels).contrast(data.contrast)


# --- ANCOVA -----------------------------------------------------------------------------------------------


Trial = tuple[Floats, Floats, Booleans]
"""Outcome, baseline, and who is in the arm: each (n,)."""


def _covariates() -> Iterator[Scenario]:
    for n, ratio, low, high in (
        ((15, 15), 1, 0.94, 0.96),
        ((8, 19), 1, 0.93, 0.965),
        ((8, 19), 2, 0.92, 0.965),
    ):
        spread = f"; residuals {ratio} times as spread in the arm" if ratio > 1 else ""
        yield Scenario(
            f"ancova-{n[0]}-{n[1]}-{ratio}",
            f"{n[0]} people against {n[1]}, baseline correlated 0.6{spread}",
            _with_baseline(n, ratio),
            -2,
            (
                Figure(
                    "ANCOVA, HC2",
                    lambda data: ancova(*data).difference,
                    Expected(low, high, "Imbens & Kolesár 2016: near nominal with Satterthwaite's freedom"),
                ),
            ),
        )


def _with_baseline(n: tuple[int, int], ratio: float) -> Callable[[Chance], Trial]:
    is_arm = np.arange(sum(n)) < n[0]

    def draw(chance: Chance) -> Trial:
        baseline = chance.normal(12, SD, sum(n))
        residual = chance.normal(0, 0.8 * SD, sum(n)) * np.where(is_arm, ratio, 1)
        return 5 + 0.6 * baseline - 2 * is_arm + residual, baseline, is_arm

    return draw


# --- Repeated measures, complete: known exactly ------------------------------------------------------------


def _repeated() -> Iterator[Scenario]:
    """Arm, time and both, four waves: both contrasts are differences of means over people."""
    for people, arm in ((10, 5), (20, 10), (27, 8), (40, 20), (100, 50)):
        n = arm, people - arm
        for what, contrast, truth in (("arm", [0.0, 1, 0, 0], -1.0), ("slope", [0.0, 0, 0, 1], -0.5)):
            figures = list(_gee_figures(n))
            if people in (10, 27, 40):
                share = exact.mixed_balanced(people, 4, 0.5)[what == "slope"]
                figures.append(Figure("mixed model, REML, t(K − p)", _mixed, exactly(share, _MIXED[what])))
            yield Scenario(
                f"waves-{people}-{what}",
                f"{n[0]} people against {n[1]}, four waves, ICC 0.5; the {what}'s difference",
                _waves(n, 0.5, contrast),
                truth,
                tuple(figures),
            )
    for people, arm in ((10, 5), (27, 8)):
        for what, contrast, truth in (("arm", [0.0, 1, 0, 0], -1.0), ("slope", [0.0, 0, 0, 1], -0.5)):
            share = exact.mixed_balanced(people, 4, 0)[what == "slope"]
            yield Scenario(
                f"waves-alike-{people}-{what}",
                f"{arm} people against {people - arm}, four waves, ICC 0; the {what}'s difference",
                _waves((arm, people - arm), 0, contrast),
                truth,
                (Figure("mixed model, REML, t(K − p)", _mixed, exactly(share, _MIXED[what])),),
            )


def _met(groups: int, size: int) -> Scenario:
    """People who meet in groups, three waves: the arms' difference is one of groups."""
    n, waves = (groups, groups), 3
    count = 2 * groups * size
    people = np.repeat(np.arange(count), waves)
    x = np.column_stack([np.ones(len(people)), people < count // 2]).astype(float)
    labels = [int(each) // size for each in people]
    share = exact.two_means(n, exact.t(exact.satterthwaite(n)))

    def draw(chance: Chance) -> People:
        shared = chance.normal(size=2 * groups)[labels]
        own = chance.normal(size=count)[people] + chance.normal(size=len(people))
        return People(10 + x[:, 1] + SD * (0.5 * shared + own), x, [int(each) for each in people], [0, 1])

    return Scenario(
        f"waves-groups-{groups}",
        f"{groups} groups of {size} people against {groups}, three waves",
        draw,
        1.0,
        (
            Figure(
                "GEE exchangeable, variance of groups",
                lambda data: fit_gee(data.y, data.x, data.labels, groups=labels).linear.contrast(
                    data.contrast
                ),
                exactly(share, "quadrature: of equal groups only their means count"),
            ),
        ),
    )


_MIXED = {
    "arm": "quadrature over both mean squares; t(K − p) where K − 2 are free",
    "slope": "quadrature over both mean squares; conservative: t(K − p) for what varies within people",
}


def _gee_figures(n: tuple[int, int]) -> Iterator[Figure]:
    quantile = exact.t(sum(n) - 4)
    less, more = (n[0] ** 2 / (n[0] - 1), n[1] ** 2 / (n[1] - 1)), (n[0] - 1.0, n[1] - 1.0)
    expected: dict[Correction, tuple[float, str]] = {
        "none": (exact.two_means(n, exact.Z, less), "too small and normal: below nominal at few people"),
        "Kauermann-Carroll": (exact.two_means(n, quantile), "unbiased variance, t(K − p)"),
        "Mancl-DeRouen": (exact.two_means(n, quantile, more), "variance too large, t(K − p): conservative"),
    }
    for correction, (share, why) in expected.items():
        yield Figure(
            f"GEE exchangeable, {correction}",
            _gee("exchangeable", correction),
            exactly(share, f"quadrature; {why} (Mancl & DeRouen 2001; Li & Redden 2015)"),
        )


def _waves(n: tuple[int, int], icc: float, contrast: list[float]) -> Callable[[Chance], People]:
    """Intercept, arm, time around its middle, and both."""
    people = np.repeat(np.arange(sum(n)), 4)
    arm, time = (people < n[0]).astype(float), np.tile(np.arange(4) - 1.5, sum(n))
    x = np.column_stack([np.ones(len(people)), arm, time, arm * time])
    labels: Sequence[int | None] = people.tolist()

    def draw(chance: Chance) -> People:
        scores = 12 + x @ [0, -1, -0.5, -0.5] + _scores(chance, people, icc)
        return People(scores, x, labels, contrast)

    return draw


def _scores(chance: Chance, people: npt.NDArray[np.int64], icc: float) -> Floats:
    shared = chance.normal(size=int(people.max()) + 1)[people]
    return np.asarray(SD * (math.sqrt(icc) * shared + math.sqrt(1 - icc) * chance.normal(size=len(people))))


def _gee(correlation: Correlation, correction: Correction) -> Callable[[People], Estimate]:
    return lambda data: fit_gee(data.y, data.x, data.labels, correlation, correction).linear.contrast(
        data.contrast
    )


def _mixed(data: People) -> Estimate:
    return fit_mixed(data.y, data.x, data.labels).linear.contrast(data.contrast)


# --- Waves that are missing -------------------------------------------------------------------------------


def _ragged() -> Iterator[Scenario]:
    """Eight against nineteen, as in the carers' study: a fifth of later waves missing by chance."""
    bands: dict[Correction, tuple[float, float, str]] = {
        "none": (0.82, 0.94, "Mancl & DeRouen 2001: size 2 to 3 times nominal at 10 to 40 people"),
        "Kauermann-Carroll": (0.915, 0.97, "Li & Redden 2015: close to nominal with t(K − p)"),
        "Mancl-DeRouen": (0.93, 0.99, "Mancl & DeRouen 2001; Li & Redden 2015: conservative"),
    }
    figures = [
        Figure(f"GEE exchangeable, {each}", _gee("exchangeable", each), Expected(*bands[each]))
        for each in CORRECTIONS
    ]
    why = "t(K − p) for a contrast that is partly within people: nominal or wider"
    yield Scenario(
        "ragged-27",
        "8 people against 19, three waves, ICC 0.5, a fifth of later waves missing completely at random;"
        " the difference of change to wave 3",
        _saturated((8, 19), 0.5, [0, 0, 0, 0, 0, 1], _by_chance),
        -3,
        (*figures, Figure("mixed model, REML, t(K − p)", _mixed, Expected(0.94, 0.98, why))),
    )


def _dropout() -> Iterator[Scenario]:
    """In the arm half do not come again: those with high first scores. In the other arm nobody is lost."""
    n, icc, steepness = 60, 0.6, 1.5
    biased = exact.means_of_who_stayed(n, SD, icc, steepness)
    yield Scenario(
        "dropout",
        f"{n} people in each arm, three waves, ICC {icc}; half of one arm drop out, the more likely the"
        " higher their first score (missing at random); the difference at wave 3",
        _saturated((n, n), icc, [0, 1, 0, 0, 0, 1], lambda chance, z: _by_first_score(chance, z, steepness)),
        -4,
        (
            Figure(
                "mixed model, REML, t(K − p)",
                _mixed,
                Expected(
                    0.935,
                    0.96,
                    "likelihood: valid if missing at random (Rubin 1976; Kenward & Molenberghs 1998)",
                ),
            ),
            Figure(
                "GEE independence, none",
                _gee("independence", "none"),
                about(
                    biased,
                    0.03,
                    "normal, by the bias of means of who stayed; GEE asks for missing completely at random",
                ),
            ),
            Figure(
                "GEE exchangeable, none",
                _gee("exchangeable", "none"),
                Expected(
                    0.88,
                    0.96,
                    "Liang & Zeger 1986: consistent only as far as the working correlation is right",
                ),
            ),
        ),
    )


Missing = Callable[[Chance, Floats], Booleans]
"""Which of three waves (people, 3) are there, by standardised scores at all of them."""


def _by_chance(chance: Chance, z: Floats) -> Booleans:
    there = chance.random(z.shape) > 0.2
    there[:, 0] = True
    return there


def _by_first_score(chance: Chance, z: Floats, steepness: float) -> Booleans:
    """Of the first half of the people, who are the arm."""
    there = np.ones(z.shape, bool)
    arm = len(z) // 2
    stays = chance.random(arm) < stats.norm.cdf(-steepness * z[:arm, 0])
    there[:arm, 1:] = stays[:, None]
    return there


def _saturated(
    n: tuple[int, int], icc: float, contrast: list[float], missing: Missing
) -> Callable[[Chance], People]:
    """A mean for each arm and wave: intercept, arm, waves 2 and 3, and both with the arm."""
    people = np.repeat(np.arange(sum(n)), 3)
    arm, wave = people < n[0], np.tile(np.arange(3), sum(n))
    x = np.column_stack(
        [np.ones(len(people)), arm, wave == 1, wave == 2, arm & (wave == 1), arm & (wave == 2)]
    ).astype(float)

    def draw(chance: Chance) -> People:
        errors = _scores(chance, people, icc)
        there = missing(chance, errors.reshape(-1, 3) / SD).ravel()
        y = 12 + x @ [0, -1, -1, -2, -1, -3] + errors
        return People(y[there], x[there], people[there].tolist(), contrast)

    return draw


# --- Not allocated by chance ------------------------------------------------------------------------------

_ALLOCATION = (-0.2, 0.8, -0.5)
_SMALL = "sandwich variances are too small in small samples (Zhang 2025)"


def _overlap() -> Iterator[Scenario]:
    yield _ungrouped(100, Expected(0.91, 0.96, f"Mao, Li & Greene 2019; {_SMALL}"))
    yield _ungrouped(1000, Expected(0.94, 0.96, "Mao, Li & Greene 2019: nominal"))
    yield Scenario(
        "overlap-grouped",
        "240 people, 12 groups in each arm (ICC 0.1), arms by two covariates, effect 2 + x",
        _observed_in_groups,
        _among_overlap(),
        (
            Figure(
                "overlap weights (ATO) over groups",
                lambda data: overlap_difference(*data).difference,
                Expected(0.91, 0.97, f"Student's t by the number of groups; {_SMALL}"),
            ),
        ),
    )


def _ungrouped(n: int, expected: Expected) -> Scenario:
    return Scenario(
        f"overlap-{n}",
        f"{n} people, arms by two covariates that the outcome depends on as well, effect 2 + x",
        lambda chance: _observed(chance, n),
        _among_overlap(),
        (
            Figure(
                "overlap weights (ATO)",
                lambda data: overlap_difference(*data).difference,
                expected,
            ),
        ),
    )


def _probability(x: Floats) -> Floats:
    return np.asarray(special.expit(_ALLOCATION[0] + x @ _ALLOCATION[1:]), float)


def _among_overlap() -> float:
    """E[e(1 − e)(2 + x)] / E[e(1 − e)], x normal, the other covariate 0 or 1 with equal chances."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    tilt = [
        weights * e * (1 - e)
        for e in (_probability(np.column_stack([nodes, np.full(len(nodes), each)])) for each in (0.0, 1.0))
    ]
    return float(2 + sum(each @ nodes for each in tilt) / sum(each.sum() for each in tilt))


def _observed(chance: Chance, n: int) -> tuple[Floats, Booleans, Floats]:
    x = np.column_stack([chance.normal(size=n), chance.random(n) < 0.5]).astype(float)
    arm = chance.random(n) < _probability(x)
    y = 10 + x @ [1.5, -1] + arm * (2 + x[:, 0]) + chance.normal(0, 3, n)
    return y, arm, x


def _observed_in_groups(chance: Chance) -> tuple[Floats, Booleans, Floats, list[int]]:
    y, arm, x = _observed(chance, 240)
    groups = chance.integers(12, size=240) + 12 * arm
    return y + chance.normal(0, 1, 24)[groups], arm, x, groups.tolist()
