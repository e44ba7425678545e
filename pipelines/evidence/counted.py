"""Rows of counted studies, as the tables of reviews have them. What is counted is `study_counts`'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.evidence.inputs import Inputs
from pipelines.evidence.protocols import Study, StudyCounting
from pipelines.evidence.rows import estimate_columns
from pipelines.evidence.study_counts import study_counts

UNIT = "studies"


def counted_rows(inputs: Inputs, protocol: Study, counting: StudyCounting) -> Iterator[dict[str, Any]]:
    """For each tenant who has registered a study that is counted. A count of studies tells of no people."""
    studies = inputs.studies
    if counting.studies:
        studies = studies[studies["study_code"].isin(counting.studies)]
    for tenant, registered in studies.groupby("tenant_id"):
        attributes = inputs.attributes[inputs.attributes["tenant_id"] == tenant]
        first = min(registered["registered_at"]).date()
        common = {
            "system": getattr(protocol, "system", None),
            "study": protocol.study,
            "protocol_version": protocol.version,
            "post_hoc": protocol.is_post_hoc(first),
            "tenant": str(tenant),
            "data_class": min(registered["data_class"]),
            "population": protocol.population,
            "design": "descriptive",
            "denominator_unit": UNIT,
        }
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
