"""Whatever table of people: every model gives finite numbers, or a reason, without a warning of numpy's."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from pipelines.evidence.equivalence import equivalence, non_inferiority
from pipelines.evidence.estimates import Estimate
from pipelines.evidence.gee import fit_gee
from pipelines.evidence.mixed import fit_mixed
from pipelines.evidence.propensity import overlap_difference
from pipelines.evidence.regression import ancova, fit_linear

pytestmark = pytest.mark.filterwarnings("error")


def every_model(seed: int) -> Iterator[Estimate]:
    """Of up to 13 rows: scores and covariates that are often equal, arms and groups that are often empty."""
    chance = np.random.default_rng(seed)
    n, m = int(chance.integers(0, 14)), int(chance.integers(0, 3))
    scores = chance.integers(0, chance.integers(2, 6), n) * chance.choice([1, 1e-8, 1e8])
    y = scores if chance.random() < 0.7 else chance.normal(size=n)
    x = chance.integers(0, 3, (n, m)) if chance.random() < 0.7 else chance.normal(size=(n, m))
    arm = chance.random(n) < chance.choice([0.1, 0.5, 0.9])
    groups = chance.integers(0, chance.integers(1, 8), n)
    labels = [None if chance.random() < 0.3 else int(each) for each in groups]
    design = np.column_stack([np.ones(n), arm, x])
    yield from fit_linear(y, design).coefficients
    yield from fit_linear(y, design, labels).coefficients
    yield ancova(y, chance.integers(0, 3, n), arm, covariates=x, clusters=labels).difference
    yield from fit_gee(y, design, groups).linear.coefficients
    yield from fit_gee(y, design, groups, "independence", "Mancl-DeRouen").linear.coefficients
    yield from fit_mixed(y, design, groups).linear.coefficients
    yield from fit_mixed(y, design, groups, "ML").linear.coefficients
    yield overlap_difference(y, arm, x).difference
    yield overlap_difference(y, arm, x, labels).difference


def test_any_table_has_numbers_or_a_reason() -> None:
    with_numbers, reasons = 0, set()
    for seed in range(400):
        for found in every_model(seed):
            numbers = (found.estimate, found.se, found.ci_low, found.ci_high)
            assert all(each is None or math.isfinite(each) for each in numbers), (seed, found)
            assert (found.ci_low is None) == (found.reason is not None), (seed, found)
            verdicts = non_inferiority(found, 1, True), equivalence(found, 1)
            assert all((each.verdict is None) == (each.reason is not None) for each in verdicts)
            if found.ci_low is None or found.estimate is None or found.ci_high is None:
                reasons.add(found.reason)
            else:
                with_numbers += 1
                assert found.ci_low <= found.estimate <= found.ci_high
    assert with_numbers > 400 and len(reasons) > 8, reasons
