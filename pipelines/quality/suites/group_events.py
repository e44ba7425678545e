"""Rules of raw.group_events."""

from __future__ import annotations

from circles.groups.v1 import group_event_pb2 as contract

from pipelines.quality.rules import codes, is_between, is_one_of, is_present
from pipelines.quality.suites.events import event_suite

FACTS = {
    "format": contract.GroupFormat.DESCRIPTOR,
    "moderation": contract.Moderation.DESCRIPTOR,
    "condition": contract.Condition.DESCRIPTOR,
    "population": contract.Population.DESCRIPTOR,
}
PREFIXES = ("group_registered__facts__", "group_changed__facts__")

SUITE = event_suite(
    "group_events",
    contract.GroupEvent.DESCRIPTOR,
    columns=("group_ref", *(prefix + fact for prefix in PREFIXES for fact in (*FACTS, "capacity"))),
    rules=(
        is_present("group_ref"),
        *(is_one_of(prefix + fact, codes(enum)) for prefix in PREFIXES for fact, enum in FACTS.items()),
        *(is_between(prefix + "capacity", 0, 1e9) for prefix in PREFIXES),
    ),
)
