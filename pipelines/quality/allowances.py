"""Why a live figure may differ from its recomputation though neither is wrong: the exceptions that
docs/engagement.md allows, and what is still under way.

Each is a query for the groups to which it applies, over three relations that `reconciliation` makes:
`groups` (where the live figures of a group stand), `events` (staged ones of the groups that differ) and
`retractions` (all that are staged); and the variable `read_at`. An allowance excuses its whole group: it
says that figures may differ, not by how much.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Allowance:
    """One reason: its name in counts, and the groups to which it applies."""

    name: str
    meaning: str
    groups: str


ALLOWANCES = (
    Allowance(
        "conflict",
        "A second body under a known event_id: the stream keeps the first of its group and log.",
        """
        SELECT landed_rows.tenant_id, landed_rows.group_ref AS group_id
        FROM staging.stg_participation__identities AS identities
        JOIN raw.participation_events AS landed_rows
          USING (topic_id, kafka_partition, kafka_offset, event_index)
        WHERE identities.is_conflict
        """,
    ),
    Allowance(
        "retraction_of_another_group",
        "A retraction that was told in another group than its event.",
        """
        SELECT events.tenant_id, events.group_id
        FROM events
        JOIN retractions ON events.tenant_id = retractions.tenant_id
          AND events.event_id = retractions.retracted_event_id
        WHERE events.group_id <> retractions.group_id
        """,
    ),
    Allowance(
        "retraction_after_log",
        "A retraction of an event that has left the log.",
        """
        SELECT events.tenant_id, events.group_id
        FROM events
        JOIN groups ON events.tenant_id = groups.tenant_id AND events.group_id = groups.group_id
        JOIN retractions ON events.tenant_id = retractions.tenant_id
          AND events.event_id = retractions.retracted_event_id
        WHERE events.occurred_at < groups.as_of - INTERVAL 28 DAY
        """,
    ),
    Allowance(
        "retractions_forgotten",
        "More retractions of one group than the stream remembers.",
        "SELECT tenant_id, group_id FROM retractions GROUP BY tenant_id, group_id HAVING count(*) > 10000",
    ),
    Allowance(
        "topic_made_anew",
        "Some events came by an earlier topic of the same name, whose offsets do not compare.",
        """
        SELECT events.tenant_id, events.group_id
        FROM events
        JOIN groups USING (tenant_id, group_id)
        WHERE events.topic_id <> groups.topic_id
        """,
    ),
    Allowance(
        "records_lost",
        "The stream went on after records of the partition that landing never got, as an operator accepted.",
        """
        SELECT groups.tenant_id, groups.group_id
        FROM groups
        JOIN raw.landing_gaps AS gaps
          ON groups.topic_id = gaps.topic_id AND groups.kafka_partition = gaps.kafka_partition
        WHERE groups.applied_offset >= gaps.first_missing_offset
        """,
    ),
    Allowance(
        "consent_under_way",
        "A consent statement of the last ten minutes, or not staged yet: one side may not have it.",
        """
        SELECT events.tenant_id, events.group_id
        FROM events
        JOIN raw.outcome_events AS statements ON events.tenant_id = statements.tenant_id
          AND events.participant_id = statements.participant_ref
        LEFT JOIN staging.stg_outcomes__identities AS identities
          ON statements.tenant_id = identities.tenant_id AND statements.event_id = identities.event_id
        WHERE statements.kind IN ('consent_given', 'consent_withdrawn', 'event_retracted')
          AND (identities.event_id IS NULL
               OR statements.received_at >= getvariable('read_at') - INTERVAL 10 MINUTE)
        """,
    ),
)
"""Of several that apply to a group, the first is given."""
