"""The Beat-the-Blues table as models take it: one row for each score that is there."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

TABLE = Path(__file__).parents[2] / "infra" / "demo" / "data" / "btheb.csv"
MONTHS = (2, 3, 5, 8)


class Waves(NamedTuple):
    """Scores (n,), whose they are, and the design: intercept, baseline, month, arm, drug, long episode."""

    scores: npt.NDArray[np.float64]
    people: list[str]
    design: npt.NDArray[np.float64]


def waves() -> Waves:
    rows = [
        (float(row[f"bdi.{month}m"]), row["subject"], month, row)
        for row in csv.DictReader(TABLE.read_text().splitlines())
        for month in MONTHS
        if row[f"bdi.{month}m"]
    ]
    design = [
        (
            1,
            float(row["bdi.pre"]),
            month,
            row["treatment"] == "BtheB",
            row["drug"] == "Yes",
            row["length"] == ">6m",
        )
        for _, _, month, row in rows
    ]
    return Waves(
        np.array([score for score, *_ in rows]),
        [person for _, person, *_ in rows],
        np.array(design, float),
    )
