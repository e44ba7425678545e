"""The job that builds the warehouse from the raw tables to the release. What starts it stands beside this."""

from __future__ import annotations

import dagster as dg

build_warehouse = dg.define_asset_job(
    "build_warehouse",
    selection=dg.AssetSelection.all(),
    description="Admits what has landed, builds staging to marts, computes evidence and releases it.",
    # One process: each of its own would import Great Expectations again, which takes longer than the work.
    executor_def=dg.in_process_executor,
)
