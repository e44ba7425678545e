{% set touched = {'model': 'int_memberships_touched', 'columns': ['tenant_id', 'group_id', 'participant_id']} %}
{% set acts_of_members = "('session_attended', 'thread_started', 'reply_posted', 'reaction_given', 'thread_read')" %}

with moves as (
    select
        tenant_id,
        group_id,
        participant_id,
        kind,
        occurred_at,
        lead(occurred_at) over (
            partition by tenant_id, group_id, participant_id order by occurred_at, {{ arrival_order() }}
        ) as next_move_at
    from {{ touched_participation(touched) }} as events
    where kind in ('member_joined', 'member_left') and participant_id is not null
),

-- Half-open spells: joining twice without leaving makes two spells that touch, never overlap.
stated_spells as (
    select tenant_id, group_id, participant_id, occurred_at as joined_at, next_move_at as left_at
    from moves
    where kind = 'member_joined'
),

first_acts as (
    select tenant_id, group_id, participant_id, min(occurred_at) as joined_at
    from {{ touched_participation(touched) }} as events
    where
        participant_id is not null
        and kind in {{ acts_of_members }}
        and coalesce(attendance_role, 'member') = 'member'
    group by tenant_id, group_id, participant_id
),

-- Whoever acts as a member without having joined is a member from the first act on.
inferred_spells as (
    select
        first_acts.tenant_id,
        first_acts.group_id,
        first_acts.participant_id,
        first_acts.joined_at,
        cast(null as timestamp with time zone) as left_at
    from first_acts
    left join stated_spells
        on first_acts.tenant_id = stated_spells.tenant_id
        and first_acts.group_id = stated_spells.group_id
        and first_acts.participant_id = stated_spells.participant_id
    where stated_spells.participant_id is null
)

select tenant_id, group_id, participant_id, joined_at, left_at, false as is_inferred from stated_spells
union all
select tenant_id, group_id, participant_id, joined_at, left_at, true as is_inferred from inferred_spells
