"""Rows of counted studies, as the tables of reviews have them. What is counted is `study_counts`'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.evidence.inputs import Inputs
from pipelines.evidence.protocols import MutualHelp, YouthOnline
from pipelines.evidence.rows import estimate_columns, protocol_columns
from pipelines.evidence.study_counts import study_counts

UNIT = "studies"


def counted_rows(inputs: Inputs, protocol: MutualHelp | YouthOnline) -> Iterator[dict[str, Any]]:
    """For each tenant who has registered a study that is counted. A count of studies tells of no people."""
    counting, studies = protocol.counting, inputs.studies
    if counting is None:
        return
    if counting.studies:
        studies = studies[studies["study_code"].isin(counting.studies)]
    for tenant, registered in studies.groupby("tenant_id"):
        attributes = inputs.attributes[inputs.attributes["tenant_id"] == tenant]
        first = min(registered["registered_at"]).date()
        asked = protocol_columns(protocol, str(tenant), min(registered["data_class"]), first)
        common = asked | {"design": "descriptive", "denominator_unit": UNIT}
        for each in study_counts(counting, registered, attributes):
            yield (
                common
                | estimate_columns(each.estimate)
                | {
                    "source_kind": "literature" if each.is_published else "own",
                    "estimate_name": each.name,
                    "part": each.part,
                    "k": each.count,
                    "denominator": each.denominator,
                    "missing_share": each.unknown / each.denominator if each.denominator else None,
                    "parts": (),
                }
            )
