"""Scenarios of looking every day: paths without a difference, and whether any look finds one.

A figure is a claim, which is wrong: that the truth is outside of an interval at any look. Of fixed-sample
intervals it is there to be bad.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipelines.evidence.sequences import BURN_IN
from tests.coverage_study import exact
from tests.coverage_study.declarations import Chance, Expected, Figure, Scenario, about
from tests.watched_paths import WATCHED, Watched, ever_outside

ROBBINS = "Robbins 1970: at most α over all looks"
LIMIT = "Waudby-Smith 2024: at most α over all looks, in the limit"


def scenarios() -> Iterator[Scenario]:
    yield from (_watched(each) for each in WATCHED)


def _watched(watched: Watched) -> Scenario:
    fixed, sequence = _expected(watched)

    def told(chance: Chance) -> tuple[bool, bool]:
        return watched.ever_excluded(watched.draw(chance))

    return Scenario(
        watched.name,
        f"{watched.words}; without a difference, looked at after every batch",
        told,
        watched.truth,
        (
            Figure("fixed-sample interval, at any look", lambda ever: bool(ever[0]), fixed),
            Figure("confidence sequence, at any look", lambda ever: bool(ever[1]), sequence),
        ),
    )


def _expected(watched: Watched) -> tuple[Expected, Expected]:
    if watched.normal_at is None:
        many = Expected(0.15, 0.6, "Armitage 1969: 0.19 at ten equally spaced looks, 0.37 at a hundred")
        is_exact = watched.name in ("watched-share", "watched-pool")
        return many, Expected(0.0, 0.05, ROBBINS if is_exact else LIMIT)
    looks = np.array(watched.normal_at, float)
    source = "quadrature from look to look, with known variances"
    return (
        about(ever_outside(looks, np.full(len(looks), exact.Z)), 0.02, source),
        about(ever_outside(looks, _reaches(looks / BURN_IN)), 0.01, source),
    )


def _reaches(clock: np.ndarray) -> np.ndarray:
    """Of the mixture that is narrowest at the burn-in, by search: nothing here calls the code under test."""
    from scipy.optimize import minimize_scalar

    def reach(ratio: np.ndarray | float) -> np.ndarray:
        return np.sqrt((ratio + 1) / ratio * np.log((ratio + 1) / 0.05**2))

    lowest = minimize_scalar(reach, bounds=(1, 50), method="bounded", options={"xatol": 1e-9})
    return reach(lowest.x * clock)
