"""What need not be computed again: by fingerprints of inputs, on frames of simulated studies."""

from __future__ import annotations

from dataclasses import fields, replace

import pandas as pd
import pytest

from pipelines.builds.evidence import BUILDERS
from pipelines.builds.unchanged import fingerprints, only, prints
from pipelines.evidence.inputs import USES, Inputs
from pipelines.evidence.rows import CARERS_CONTROLLED, GROUP_ENGAGEMENT, TABLES
from services.simulator import studies
from tests.fakes.study_frames import frames

CARERS = CARERS_CONTROLLED.name


def two_tenants() -> Inputs:
    one = frames(studies.carers(1))
    frames_of = {}
    for each in fields(Inputs):
        frame: pd.DataFrame = getattr(one, each.name)
        frames_of[each.name] = pd.concat([frame, frame.assign(tenant_id="u")], ignore_index=True)
    return replace(one, **frames_of)


def test_a_tenants_fingerprint_follows_its_own_rows_alone() -> None:
    inputs = two_tenants()
    before = fingerprints(prints(inputs)[CARERS])
    assert set(before) == {"t", "u"} and before == fingerprints(prints(two_tenants())[CARERS])
    scores = inputs.scores.copy()
    scores.loc[scores["tenant_id"] == "u", "score"] += [1e-12] + [0.0] * (len(scores) // 2 - 1)
    after = fingerprints(prints(replace(inputs, scores=scores))[CARERS])
    assert after["t"] == before["t"] and after["u"] != before["u"]


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_made_from_what_it_is_said_to_use(table: str) -> None:
    inputs = two_tenants()
    given = only(inputs, table, without=())
    assert all(
        (len(getattr(given, each.name).columns) > 0) == (each.name in USES[table]) for each in fields(Inputs)
    )
    rows = BUILDERS[table](given)
    pd.testing.assert_frame_equal(rows, BUILDERS[table](inputs))


def test_who_is_unchanged_is_not_computed() -> None:
    rows = BUILDERS[CARERS](only(two_tenants(), CARERS, without=["t"]))
    assert set(rows["tenant"]) == {"u"}
    assert len(BUILDERS[CARERS](only(two_tenants(), CARERS, without=["t", "u"]))) == 0


def test_a_frame_that_a_table_does_not_use_does_not_matter() -> None:
    inputs = two_tenants()
    other = replace(inputs, scores=inputs.scores.head(3))
    assert fingerprints(prints(inputs)[GROUP_ENGAGEMENT.name]) == fingerprints(
        prints(other)[GROUP_ENGAGEMENT.name]
    )
