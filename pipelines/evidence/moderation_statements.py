"""SQL of what `professional_moderation` is computed from, for the groups and the period that each protocol
asks for. Run by `inputs`; the arithmetic is `moderation_figures`'.

A place is a group that a protocol asks for, with the time until which it is looked at: the end of the
partner's data, of the protocol's period, or of the group, whatever comes first. Without a period the marts
have the figures already; within one, messages are counted here.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pipelines.evidence.protocols import ModeratedGroups, protocols

MODERATED = "$moderated"
"""In a statement: the protocols, as `moderated` gives them."""

_ALWAYS = (date(1, 1, 1), date(9998, 12, 31))


def moderated() -> list[dict[str, Any]]:
    """Protocols of groups, a mapping each. Raises WrongProtocol."""
    return [_asked(each) for each in protocols(ModeratedGroups)]


def _asked(protocol: ModeratedGroups) -> dict[str, Any]:
    first, last = (protocol.period.first or _ALWAYS[0]), (protocol.period.last or _ALWAYS[1])
    return {
        "study": protocol.study,
        "tenants": [*protocol.tenants],
        "formats": [*protocol.formats],
        "conditions": [*protocol.conditions],
        "by_group": protocol.by_group,
        "is_open": (first, last) == _ALWAYS,
        "since": datetime.combine(first, time(), UTC),
        "before": datetime.combine(last + timedelta(days=1), time(), UTC),
    }


_PLACES = """
    WITH asked AS (SELECT unnest($moderated, recursive := true)),
    ends AS (SELECT tenant_id, max(last_event_at) AS ends_at FROM marts.dim_group GROUP BY tenant_id),
    places AS (
        SELECT asked.study, asked.by_group, asked.is_open, asked.since, groups.tenant_id, groups.group_id,
               groups.data_class, coalesce(groups.moderation, 'not_stated') AS moderation,
               groups.has_reads_collected, greatest(groups.first_event_at, asked.since) AS from_at,
               least(ends.ends_at, asked.before - INTERVAL 1 SECOND, groups.closed_at) AS until_at
        FROM marts.dim_group AS groups
        JOIN ends USING (tenant_id)
        JOIN asked ON (len(asked.tenants) = 0 OR list_contains(asked.tenants, groups.tenant_id))
          AND (len(asked.formats) = 0 OR list_contains(asked.formats, groups.format))
          AND (len(asked.conditions) = 0 OR list_contains(asked.conditions, groups.condition))
          AND groups.first_event_at < asked.before
          AND (groups.closed_at IS NULL OR groups.closed_at >= greatest(groups.first_event_at, asked.since))
    )
"""

_POSTS = """
    posts AS (
        -- Only within a period: else the marts have counted them.
        SELECT places.study, acts.tenant_id, acts.group_id, acts.participant_id, acts.thread_id, acts.kind,
               acts.in_reply_to_act_id, people.has_research_consent
        FROM places
        JOIN marts.fct_participation AS acts
          ON acts.tenant_id = places.tenant_id AND acts.group_id = places.group_id
          AND acts.occurred_at BETWEEN places.from_at AND places.until_at
        JOIN marts.dim_participant AS people
          ON people.tenant_id = acts.tenant_id AND people.participant_id = acts.participant_id
        WHERE NOT places.is_open
          AND acts.kind IN ('thread_started', 'reply_posted', 'reaction_given', 'thread_read',
                            'session_attended')
    )
"""


def _between(start: str, end: str) -> str:
    """In seconds. To subtract times themselves costs a calendar each."""
    return f"(epoch({end}) - epoch({start}))"


def _by_then(event: str, start: str, seconds: int) -> str:
    """How long after the start it happened; NULL: not by `until_at`. Stamped before it, it came at once."""
    return f"CASE WHEN {event} <= until_at THEN greatest(0, {_between(start, event)} / {seconds}) END"


_MEMBER_SECONDS = _between(
    "greatest(from_at, members.first_joined_at)", "least(until_at, stays.completed_at, stays.ended_at)"
)

STATEMENTS = {
    "moderated_units": f"""{_PLACES}
        SELECT study, places.tenant_id, moderation, group_id, min(places.data_class) AS data_class,
               bool_and(has_reads_collected) AS has_reads_collected,
               count(DISTINCT group_id) AS count_groups, count(DISTINCT participant_id) AS count_members,
               count(DISTINCT participant_id) FILTER (WHERE has_research_consent) AS count_consented,
               min(from_at) AS from_at, max(until_at) AS until_at
        FROM places
        LEFT JOIN (
            SELECT tenant_id, group_id, participant_id, has_research_consent, first_joined_at
            FROM marts.fct_group_membership
        ) AS members USING (tenant_id, group_id)
        WHERE members.participant_id IS NULL OR members.first_joined_at <= until_at
        GROUP BY GROUPING SETS (
            (study, places.tenant_id), (study, places.tenant_id, moderation),
            (study, places.tenant_id, moderation, group_id)
        )
        HAVING group_id IS NULL OR bool_or(by_group)
        ORDER BY places.tenant_id, study, moderation NULLS FIRST, group_id NULLS FIRST
    """,  # noqa: S608
    "moderated_members": f"""{_PLACES}, {_POSTS}, written AS (
            SELECT study, tenant_id, group_id, participant_id,
                   count_if(kind IN ('thread_started', 'reply_posted')) AS count_posts
            FROM posts GROUP BY study, tenant_id, group_id, participant_id
        )
        SELECT study, tenant_id, moderation, group_id, participant_id, members.first_joined_at AS joined_at,
               members.first_joined_at >= since AS is_followed,
               CASE WHEN is_open THEN members.count_posts ELSE coalesce(written.count_posts, 0) END
                 AS count_posts,
               CASE WHEN is_open THEN members.is_active OR members.count_reads > 0
                    ELSE written.participant_id IS NOT NULL END AS has_acted,
               {_between("members.first_joined_at", "until_at")} / 86400 AS followed_days,
               {_by_then("stays.gap_at", "members.first_joined_at", 86400)} AS gap_days,
               {_by_then("stays.completed_at", "members.first_joined_at", 86400)} AS completed_days,
               {_by_then("stays.ended_at", "members.first_joined_at", 86400)} AS ended_days,
               coalesce(stays.returned_at <= until_at, false) AS has_returned,
               greatest(0, {_MEMBER_SECONDS} / 604800) AS member_weeks
        FROM places
        JOIN marts.fct_group_membership AS members USING (tenant_id, group_id)
        JOIN marts.fct_member_gap AS stays USING (tenant_id, group_id, participant_id)
        LEFT JOIN written USING (study, tenant_id, group_id, participant_id)
        WHERE members.has_research_consent AND members.first_joined_at <= until_at
        ORDER BY tenant_id, study, group_id, participant_id
    """,  # noqa: S608
    "moderated_threads": f"""{_PLACES}, {_POSTS}, written AS (
            SELECT study, tenant_id, group_id, thread_id, count(*) AS count_messages
            FROM posts WHERE kind IN ('thread_started', 'reply_posted') AND has_research_consent
            GROUP BY study, tenant_id, group_id, thread_id
        )
        SELECT study, tenant_id, moderation, group_id, starter_participant_id AS participant_id,
               CASE WHEN is_open THEN threads.count_messages ELSE written.count_messages END
                 AS count_messages,
               {_between("started_at", "until_at")} / 3600 AS followed_hours,
               {_by_then("first_reply_at", "started_at", 3600)} AS reply_hours,
               {_by_then("moderator_reply_at", "started_at", 3600)} AS moderator_hours,
               {_by_then("least(removed_at, locked_at)", "started_at", 3600)} AS closed_hours
        FROM places
        JOIN marts.fct_thread AS threads USING (tenant_id, group_id)
        LEFT JOIN written USING (study, tenant_id, group_id, thread_id)
        WHERE threads.has_research_consent AND started_at BETWEEN from_at AND until_at
        ORDER BY tenant_id, study, group_id, participant_id, started_at, thread_id
    """,  # noqa: S608
    "moderated_networks": f"""{_PLACES}, {_POSTS}, acts AS (
            SELECT tenant_id, group_id, act_id, participant_id
            FROM marts.fct_participation
            WHERE kind IN ('thread_started', 'reply_posted')
              AND (tenant_id, group_id) IN (SELECT (tenant_id, group_id) FROM places WHERE NOT is_open)
            QUALIFY row_number() OVER (
                PARTITION BY tenant_id, group_id, act_id
                ORDER BY floor(epoch(occurred_at)), participant_id, landed_seq, topic_id, kafka_partition,
                         kafka_offset, event_index
            ) = 1
        ), edges AS (
            SELECT study, tenant_id, group_id, from_participant_id, to_participant_id
            FROM places JOIN marts.fct_reply_edge AS edges USING (tenant_id, group_id)
            WHERE is_open AND edges.has_research_consent
            UNION ALL
            SELECT DISTINCT study, posts.tenant_id, posts.group_id, posts.participant_id, acts.participant_id
            FROM posts
            JOIN acts ON acts.tenant_id = posts.tenant_id AND acts.group_id = posts.group_id
              AND acts.act_id = posts.in_reply_to_act_id AND acts.participant_id <> posts.participant_id
            JOIN marts.dim_participant AS people
              ON people.tenant_id = acts.tenant_id AND people.participant_id = acts.participant_id
            WHERE posts.kind = 'reply_posted' AND posts.has_research_consent AND people.has_research_consent
        ), dyads AS (
            SELECT study, tenant_id, group_id, count(*) AS directions
            FROM edges
            GROUP BY study, tenant_id, group_id, least(from_participant_id, to_participant_id),
                     greatest(from_participant_id, to_participant_id)
        ), degrees AS (
            SELECT study, tenant_id, group_id, count(*) AS in_degree
            FROM edges GROUP BY study, tenant_id, group_id, to_participant_id
        )
        SELECT study, tenant_id, moderation, group_id, count_dyads, count_mutual, max_in_degree,
               sum_in_degree
        FROM places JOIN (
            SELECT study, tenant_id, group_id, count(*) AS count_dyads,
                   count_if(directions = 2) AS count_mutual
            FROM dyads GROUP BY study, tenant_id, group_id
        ) USING (study, tenant_id, group_id) JOIN (
            SELECT study, tenant_id, group_id, max(in_degree) AS max_in_degree,
                   sum(in_degree)::BIGINT AS sum_in_degree
            FROM degrees GROUP BY study, tenant_id, group_id
        ) USING (study, tenant_id, group_id)
        ORDER BY tenant_id, study, group_id
    """,  # noqa: S608
}
"""By frame of `Inputs`."""
