"""Rows of a system for whose protocols no partner has posted anything: that there is nothing, and why.

So that each system is there to be read, and nobody takes a table without rows for one that failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.evidence.estimates import not_estimated
from pipelines.evidence.protocols import Protocol, protocols_of
from pipelines.evidence.rows import estimate_columns, protocol_columns

TENANT = "nobody"
DATA_CLASS = "public"
"""It tells of no person."""

MISSING = {
    "group_engagement": "participation in a group",
    "youth_online_peer_support": "its studies, or answers of young members of online groups",
    "mutual_help": "its studies, or people allocated to its arms",
    "group_peer_support_meta": "reports of studies about its outcomes",
    "carers_controlled": "people allocated to its arms",
    "mens_groups": "coded themes, replies or answers of its groups",
    "osg_prevalence": "answers to its survey",
    "professional_moderation": "messages of its groups and period",
    "covid_change": "features of posts in its window",
}
"""By system, what its protocols ask for."""


def unposted_rows(system: str) -> Iterator[dict[str, Any]]:
    """A row for each protocol. Raises WrongProtocol."""
    return (_row(each) for each in protocols_of(system))


def _row(protocol: Protocol) -> dict[str, Any]:
    reason = f"no partner has posted {MISSING[protocol.system]}"
    asked = protocol_columns(protocol, TENANT, DATA_CLASS, protocol.dated)
    return (
        asked
        | estimate_columns(not_estimated("none", reason))
        | {
            "source_kind": "own",
            "estimate_name": "anything",
            "n": 0,
            "denominator": 0,
            "denominator_unit": "people whose events were posted for it",
            "design": protocol.design,
            "parts": (),
        }
    )
