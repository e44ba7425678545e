"""Whether coders who read the same say the same: Cohen's κ of two, Krippendorff's α of any number.

Codes are names, and one is as far from another as from the next (nominal). A code may be missing: None, NaN.
Both take the units, passages or people that were coded, as a sample, and their intervals hold for units of
its kind. Agreement on scores is not here.

Sources: Cohen 1960; Fleiss, Cohen & Everitt 1969 (standard error of κ); Krippendorff 2019, ch. 12. The
variance of α is linearised over units, as of any ratio of sums.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.evidence.estimates import CI_LEVEL, Estimate, not_estimated, with_interval
from pipelines.evidence.linear import Floats, Integers, Labels

_KAPPA = "Cohen's κ; Fleiss–Cohen–Everitt standard error; normal interval"
_ALPHA = "Krippendorff's α, nominal; variance linearised over units; t(units − 1)"
ONE_CODE, ALL_AGREE = "one code only was ever given", "no interval: coders agree on every unit"


@dataclass(frozen=True)
class Agreement:
    """`units` that two or more coded, of so many `asked`; `codes`: how many codes those units have."""

    estimate: Estimate
    units: int
    asked: int
    codes: int


def cohens_kappa(one: Labels, other: Labels, level: float = CI_LEVEL) -> Agreement:
    """κ = (pₒ − pₑ)/(1 − pₑ) of the codes of two coders (n,), of the units that both coded.

    n(1 − pₑ)²Var κ = Σ pᵢᵢ(1 − (pᵢ. + p.ᵢ)(1 − κ))² + (1 − κ)² Σ_{i≠j} pᵢⱼ(p.ᵢ + pⱼ.)² − (κ − pₑ(1 − κ))².
    Raises ValueError when they are not of one number.
    """
    if len(one) != len(other):
        raise ValueError(f"{len(one)} codes, {len(other)} codes")
    codes, kinds = _codes([*one, *other])
    pairs = codes.reshape(2, -1)
    pairs = pairs[:, (pairs >= 0).all(axis=0)]
    n = pairs.shape[1]
    table = np.bincount(pairs[0] * kinds + pairs[1], minlength=kinds**2).reshape(kinds, kinds).astype(float)
    found = Agreement(not_estimated(_KAPPA, ""), n, len(one), len(np.unique(pairs)))
    if n == 0:
        return replace(found, estimate=not_estimated(_KAPPA, "no unit was coded by both"))
    if found.codes == 1:
        return replace(found, estimate=not_estimated(_KAPPA, ONE_CODE))
    return replace(found, estimate=_kappa(table / n, n, level))


def _kappa(shares: Floats, n: int, level: float) -> Estimate:
    rows, columns, same = shares.sum(axis=1), shares.sum(axis=0), np.diag(shares)
    by_chance = float(rows @ columns)
    kappa = (float(same.sum()) - by_chance) / (1 - by_chance)
    if np.count_nonzero(shares) == np.count_nonzero(same):
        return Estimate(1.0, None, None, None, _KAPPA, ALL_AGREE)
    apart = (shares - np.diag(same)) * (columns[:, None] + rows[None, :]) ** 2
    variance = (
        float(same @ (1 - (rows + columns) * (1 - kappa)) ** 2)
        + (1 - kappa) ** 2 * float(apart.sum())
        - (kappa - by_chance * (1 - kappa)) ** 2
    ) / (n * (1 - by_chance) ** 2)
    if variance <= 1e-14:  # but for rounding
        return Estimate(kappa, None, None, None, _KAPPA, "no interval: units do not differ")
    return with_interval(kappa, float(np.sqrt(variance)), _KAPPA, level=level)


def krippendorffs_alpha(codes: npt.ArrayLike, level: float = CI_LEVEL) -> Agreement:
    """α = 1 − (N − 1)O/E of the codes (units, coders), of units with two codes and more.

    With nᵤ꜀ codes c of the mᵤ of unit u, N = Σmᵤ and N꜀ = Σᵤnᵤ꜀: O = Σᵤ(mᵤ² − Σ꜀nᵤ꜀²)/(mᵤ − 1), which are
    the pairs that differ, and E = N² − ΣN꜀². α is a function of sums over units, so a unit contributes its
    derivative to the error.
    """
    asked, counts = _counts(codes)
    m = counts.sum(axis=1)
    counts, m = counts[m > 1], m[m > 1]
    of_code = counts.sum(axis=0)
    found = Agreement(not_estimated(_ALPHA, ""), len(m), asked, int((of_code > 0).sum()))
    if len(m) == 0:
        return replace(found, estimate=not_estimated(_ALPHA, "no unit was coded by two"))
    if found.codes == 1:
        return replace(found, estimate=not_estimated(_ALPHA, ONE_CODE))
    return replace(found, estimate=_alpha(counts, m, of_code, level))


def _alpha(counts: Floats, m: Floats, of_code: Floats, level: float) -> Estimate:
    n, units = float(m.sum()), len(m)
    differing = (m**2 - (counts**2).sum(axis=1)) / (m - 1)
    observed, expected = float(differing.sum()), n**2 - float(of_code @ of_code)
    alpha = 1 - (n - 1) * observed / expected
    if observed == 0:
        return Estimate(alpha, None, None, None, _ALPHA, ALL_AGREE)
    if units == 1:
        return Estimate(alpha, None, None, None, _ALPHA, "no interval: one unit")
    of_expected = 2 * (n * m - counts @ of_code)
    errors = (m * observed + (n - 1) * (differing - observed * of_expected / expected)) / expected
    errors = errors - errors.mean()
    se = float(np.sqrt(units / (units - 1) * (errors @ errors)))
    if se <= 1e-12:  # but for rounding
        return Estimate(alpha, None, None, None, _ALPHA, "no interval: units do not differ")
    return with_interval(alpha, se, _ALPHA, units - 1, level)


def _counts(codes: npt.ArrayLike) -> tuple[int, Floats]:
    """How many units there are, and how often each has each code (units, kinds)."""
    table = np.asarray(codes, object)
    if table.ndim != 2:
        return len(table), np.zeros((len(table), 1))
    flat, kinds = _codes(table.ravel().tolist())
    rows = np.repeat(np.arange(len(table)), table.shape[1])
    is_there = flat >= 0
    cells = np.bincount(rows[is_there] * kinds + flat[is_there], minlength=len(table) * kinds)
    return len(table), cells.reshape(len(table), kinds).astype(float)


def _codes(labels: list[Any]) -> tuple[Integers, int]:
    """Labels as numbers from 0, missing ones as −1, and how many kinds there are, at least 1."""
    kinds = {each: None for each in labels if not _is_missing(each)}
    numbers = {each: i for i, each in enumerate(kinds)}
    return np.array([numbers.get(each, -1) for each in labels], np.int64), max(len(kinds), 1)


def _is_missing(label: Any) -> bool:
    return label is None or label != label  # noqa: PLR0124  # NaN of any type
