"""What evidence is computed from: the marts of the lake at one snapshot, as frames.

Only rows of people who consented to research, or whose rows are published already, come through here;
the arithmetic is done elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Inputs:
    """`groups`: one row per group. `members`: one per group and consenting person. `arms`: one per study,
    arm, instrument and time point. `studies`: one per registered study. `covariates`: one per study and
    number that describes it. `reports`: one per summary of an arm, or effect, that a study reports.
    """

    groups: pd.DataFrame
    members: pd.DataFrame
    arms: pd.DataFrame
    studies: pd.DataFrame
    covariates: pd.DataFrame
    reports: pd.DataFrame


def read_inputs(lake: duckdb.DuckDBPyConnection) -> Inputs:
    """Reads the marts, ordered, so that equal snapshots give equal tables."""
    return Inputs(
        groups=lake.execute("SELECT * FROM marts.fct_group_engagement ORDER BY tenant_id, group_id").df(),
        members=lake.execute(
            "SELECT tenant_id, group_id, count_sessions_open, count_sessions_attended, count_posts, "
            "count_threads_started FROM marts.fct_group_membership WHERE has_research_consent "
            "ORDER BY tenant_id, group_id, participant_id"
        ).df(),
        arms=lake.execute(
            "SELECT * FROM marts.fct_study_arm_outcome "
            "ORDER BY tenant_id, study_code, arm, instrument, instrument_version, time_point"
        ).df(),
        studies=lake.execute("SELECT * FROM marts.dim_study ORDER BY tenant_id, study_code").df(),
        covariates=lake.execute(
            "SELECT * FROM marts.dim_study_covariate ORDER BY tenant_id, study_code, covariate"
        ).df(),
        reports=lake.execute(
            "SELECT * FROM marts.fct_study_report ORDER BY tenant_id, study_code, kind, arm, comparison_arm, "
            "outcome, instrument, time_point, effect_scale"
        ).df(),
    )
