{#
  Rolling engagement as docs/engagement.md defines it: one row per group and window, from the events of a
  relation with the columns of stg_participation__events. What is in that relation is all that is known: the
  mart gives it everything, reconciliation only what the stream had seen.

  Each macro but the first makes the steps of one kind of figure. They all start from `kept` and `log`, and
  tell time by `age`, the seconds before the group's `as_of`: from 1, and growing into the past. Whatever is
  in a window is in all longer ones, so each thing is looked at once with its age.
#}

{#
  `events`: relation as above. `withdrawals`: relation of tenant_id and participant_id, those who withdrew.
#}
{% macro group_engagement_rolling(events, withdrawals) %}
with {{ engagement_log(events, withdrawals) }},
{{ engagement_counts() }},
{{ engagement_people() }},
{{ engagement_sessions() }},
{{ engagement_threads() }},
{{ engagement_medians() }},
{{ engagement_dyads() }},
{{ engagement_contributions() }},

figures as (
    select
        group_ends.tenant_id,
        group_ends.group_id,
        group_ends.data_class,
        windows.window_hours,
        {{ moment_of('group_ends.as_of') }} as as_of,
        {% for figure in engagement_counted().split() %}
        cast(coalesce({{ figure }}, 0) as bigint) as {{ figure }},
        {% endfor %}
        first_reply_median_seconds,
        moderator_reply_median_seconds,
        contribution_gini,
        -- Of the group, whatever the window.
        max(case when windows.window_hours = 24 then count_active_participants end)
            over (partition by group_ends.group_number) as count_active_24h,
        max(case when windows.window_hours = 672 then count_active_participants end)
            over (partition by group_ends.group_number) as count_active_672h
    from group_ends
    cross join windows
    {% for step in engagement_steps().split() %}
    left join {{ step }}
        on group_ends.group_number = {{ step }}.group_number
        and windows.window_hours = {{ step }}.window_hours
    {% endfor %}
)

select
    tenant_id,
    group_id,
    data_class,
    window_hours,
    as_of,
    count_events,
    count_posts,
    count_replies,
    count_reads,
    count_reactions,
    count_active_participants,
    count_newcomers,
    count_active_participants - count_newcomers as count_returning,
    count_dropouts,
    {{ share('coalesce(count_active_24h, 0)', 'count_active_672h') }} as stickiness,
    count_sessions,
    count_places,
    count_attendances,
    {{ share('count_attendances', 'count_places') }} as attendance_rate,
    count_threads,
    count_threads_answered,
    count_threads - count_threads_answered as count_threads_unanswered,
    count_threads_followed_1h,
    count_threads_answered_1h,
    {{ share('count_threads_answered_1h', 'count_threads_followed_1h') }} as reply_rate_1h,
    count_threads_followed_24h,
    count_threads_answered_24h,
    {{ share('count_threads_answered_24h', 'count_threads_followed_24h') }} as reply_rate_24h,
    first_reply_median_seconds,
    count_threads_moderated,
    moderator_reply_median_seconds,
    count_dyads,
    count_dyads_reciprocal,
    {{ share('count_dyads_reciprocal', 'count_dyads') }} as reciprocity,
    count_contributors,
    contribution_gini,
    count_posts_of_top,
    {{ share('count_posts_of_top', 'count_posts') }} as top_1_percent_share
from figures
{% endmacro %}

{# The steps that are joined in the end, each with one row per group and window in which it has something. #}
{% macro engagement_steps() -%}
    counts people_counted sessions_counted threads_counted medians dyads_counted contributions
{%- endmacro %}

{# The figures that are 0 where a step has no row. #}
{% macro engagement_counted() -%}
    count_events count_posts count_replies count_reads count_reactions
    count_active_participants count_newcomers count_dropouts
    count_sessions count_places count_attendances
    count_threads count_threads_answered
    count_threads_followed_1h count_threads_answered_1h count_threads_followed_24h count_threads_answered_24h
    count_threads_moderated count_dyads count_dyads_reciprocal count_contributors count_posts_of_top
{%- endmacro %}

{# Part ÷ whole as double; NULL where there is no whole. #}
{% macro share(part, whole) -%}
    cast({{ part }} as double) / nullif({{ whole }}, 0)
{%- endmacro %}

{# The shortest window that something of this age is in. NULL: none. #}
{% macro narrowest_window(age) -%}
    case
        when {{ age }} <= 3600 then 1
        when {{ age }} <= 86400 then 24
        when {{ age }} <= 604800 then 168
        when {{ age }} <= 2419200 then 672
    end
{%- endmacro %}

{# What counts: `kept` is all of it with its age, `log` the last 28 days, `group_ends` the end of the windows. #}
{% macro engagement_log(events, withdrawals) %}
windows as (
    select window_hours, window_hours * 3600 as window_seconds
    from (values (1), (24), (168), (672)) as hours (window_hours)
),

told as (
    select
        tenant_id,
        group_id,
        data_class,
        event_id,
        retracted_event_id,
        kind,
        {{ seconds_of('occurred_at') }} as moment,
        participant_id,
        session_id,
        thread_id,
        act_id,
        in_reply_to_act_id,
        kind = 'session_attended' and coalesce(attendance_role, 'member') = 'member' as is_as_member,
        moderation_action
    from {{ events }}
),

group_newest as (
    select tenant_id, group_id, min(data_class) as data_class, max(moment) as newest
    from told
    where kind <> 'event_retracted'
    group by tenant_id, group_id
),

-- Twice mod: the remainder of a moment before 1970 is negative.
group_ends as (
    select
        row_number() over (order by tenant_id, group_id) as group_number,
        tenant_id,
        group_id,
        data_class,
        newest - mod(mod(newest, 300) + 300, 300) + 300 as as_of
    from group_newest
),

not_taken_back as (
    {{ kept_events('told') }}
),

kept as (
    select
        group_ends.group_number,
        group_ends.as_of - not_taken_back.moment as age,
        not_taken_back.kind,
        not_taken_back.participant_id,
        not_taken_back.session_id,
        not_taken_back.thread_id,
        not_taken_back.act_id,
        not_taken_back.in_reply_to_act_id,
        not_taken_back.is_as_member,
        not_taken_back.moderation_action
    from not_taken_back
    inner join group_ends
        on not_taken_back.tenant_id = group_ends.tenant_id
        and not_taken_back.group_id = group_ends.group_id
    left join {{ withdrawals }} as withdrawals
        on not_taken_back.tenant_id = withdrawals.tenant_id
        and not_taken_back.participant_id = withdrawals.participant_id
    where withdrawals.participant_id is null
),

log as (
    select * from kept where age <= 2419200
)
{% endmacro %}

{# Plain counts of events. Counted once by the narrowest window, then added up: there are many of them. #}
{% macro engagement_counts() %}
counts_by_narrowest as (
    select
        group_number,
        {{ narrowest_window('age') }} as narrowest_hours,
        count(*) as count_events,
        count_if(kind in ('thread_started', 'reply_posted')) as count_posts,
        count_if(kind = 'reply_posted') as count_replies,
        count_if(kind = 'thread_read') as count_reads,
        count_if(kind = 'reaction_given') as count_reactions
    from log
    group by 1, 2
),

counts as (
    select
        group_number,
        window_hours,
        sum(count_events) as count_events,
        sum(count_posts) as count_posts,
        sum(count_replies) as count_replies,
        sum(count_reads) as count_reads,
        sum(count_reactions) as count_reactions
    from counts_by_narrowest
    inner join windows on counts_by_narrowest.narrowest_hours <= windows.window_hours
    group by group_number, window_hours
)
{% endmacro %}

{# Who was active, is new, or fell silent 30 days ago. From all that is known, not only from the log. #}
{% macro engagement_people() %}
{%- set activities -%}
    (
        'member_joined', 'session_attended', 'thread_started', 'reply_posted', 'reaction_given',
        'thread_read', 'moderation_acted'
    )
{%- endset %}
people as (
    select
        group_number,
        participant_id,
        max(age) filter (where kind in {{ activities }}) as first_activity_age,
        min(age) filter (where kind in {{ activities }}) as last_activity_age,
        count_if(kind = 'member_joined') as count_joined,
        max(age) filter (where kind = 'member_left') as first_left_age,
        min(age) filter (where kind = 'member_left') as last_left_age,
        max(age) filter (
            where is_as_member or kind in ('thread_started', 'reply_posted', 'reaction_given', 'thread_read')
        ) as first_act_age
    from kept
    where participant_id is not null
    group by group_number, participant_id
),

silences as (
    select
        *,
        -- Whoever left at the last activity or later has said so, and did not drop out.
        case when last_left_age is null or last_left_age > last_activity_age then last_activity_age - 2592000 end
            as dropout_age
    from people
),

people_counted as (
    select
        group_number,
        window_hours,
        count_if(last_activity_age <= window_seconds) as count_active_participants,
        count_if(first_activity_age <= window_seconds) as count_newcomers,
        count_if(dropout_age between 1 and window_seconds) as count_dropouts
    from silences
    cross join windows
    group by group_number, window_hours
)
{% endmacro %}

{# Sessions, the members at their time, and who of these came. #}
{% macro engagement_sessions() %}
sessions as (
    select
        group_number,
        session_id,
        coalesce(
            max(age) filter (where kind = 'session_held'), max(age) filter (where kind = 'session_attended')
        ) as held_age
    from log
    where session_id is not null
    group by group_number, session_id
    having count_if(kind = 'session_cancelled') = 0
),

-- Of a joining and a leaving in the same second, the leaving counts.
moves as (
    select
        group_number,
        participant_id,
        age,
        count_if(kind = 'member_left') = 0 as is_joining
    from kept
    where kind in ('member_joined', 'member_left') and participant_id is not null
    group by group_number, participant_id, age
),

stated_spells as (
    select
        group_number,
        participant_id,
        is_joining,
        age as from_age,
        lead(age) over (partition by group_number, participant_id order by age desc) as until_age
    from moves
),

-- An age of 0 is the end of the windows: a spell without an end lasts until then.
spells as (
    select group_number, participant_id, from_age, coalesce(until_age, 0) as until_age
    from stated_spells
    where is_joining
    union all
    -- Whoever never joined is a member from the first act as a member until a leaving.
    select group_number, participant_id, first_act_age as from_age, coalesce(first_left_age, 0) as until_age
    from people
    where count_joined = 0
),

attended as (
    select distinct group_number, session_id, participant_id
    from log
    where is_as_member
),

-- A spell begins with its first second and ends before that of the next move. Spells of one person never
-- overlap. An inner join: an outer one with this condition is done row by row.
session_members as (
    select sessions.group_number, sessions.session_id, spells.participant_id
    from sessions
    inner join spells
        on sessions.group_number = spells.group_number
        and sessions.held_age <= spells.from_age
        and sessions.held_age > spells.until_age
),

session_places as (
    select
        session_members.group_number,
        session_members.session_id,
        count(*) as count_places,
        count(attended.participant_id) as count_attendances
    from session_members
    left join attended
        on session_members.group_number = attended.group_number
        and session_members.session_id = attended.session_id
        and session_members.participant_id = attended.participant_id
    group by session_members.group_number, session_members.session_id
),

sessions_counted as (
    select
        sessions.group_number,
        windows.window_hours,
        count(*) as count_sessions,
        sum(session_places.count_places) as count_places,
        sum(session_places.count_attendances) as count_attendances
    from sessions
    inner join windows on sessions.held_age <= windows.window_seconds
    left join session_places
        on sessions.group_number = session_places.group_number
        and sessions.session_id = session_places.session_id
    group by sessions.group_number, windows.window_hours
)
{% endmacro %}

{# Threads, and when somebody else answered. An answer that is stamped before its thread came at once. #}
{% macro engagement_threads() %}
thread_starts as (
    select
        group_number,
        thread_id,
        act_id,
        participant_id,
        age,
        row_number() over (
            partition by group_number, thread_id order by age desc, participant_id, act_id
        ) as start_number
    from log
    where kind = 'thread_started'
),

openings as (
    select group_number, thread_id, act_id, participant_id, age
    from thread_starts
    where start_number = 1
),

replied as (
    select openings.group_number, openings.thread_id, max(log.age) as answer_age
    from openings
    inner join log
        on openings.group_number = log.group_number
        and openings.thread_id = log.thread_id
        and openings.participant_id <> log.participant_id
    where log.kind = 'reply_posted'
    group by openings.group_number, openings.thread_id
),

moderated as (
    select openings.group_number, openings.thread_id, max(log.age) as answer_age
    from openings
    inner join log
        on openings.group_number = log.group_number
        and openings.act_id = log.act_id
        and openings.participant_id <> log.participant_id
    where log.kind = 'moderation_acted' and log.moderation_action = 'reply'
    group by openings.group_number, openings.thread_id
),

threads as (
    select
        openings.group_number,
        openings.thread_id,
        openings.age,
        case when replied.answer_age > openings.age then 0 else openings.age - replied.answer_age end
            as reply_seconds,
        case when moderated.answer_age > openings.age then 0 else openings.age - moderated.answer_age end
            as moderation_seconds
    from openings
    left join replied
        on openings.group_number = replied.group_number
        and openings.thread_id = replied.thread_id
    left join moderated
        on openings.group_number = moderated.group_number
        and openings.thread_id = moderated.thread_id
),

threads_counted as (
    select
        group_number,
        window_hours,
        count(*) as count_threads,
        count(reply_seconds) as count_threads_answered,
        count_if(age >= 3600) as count_threads_followed_1h,
        count_if(age >= 3600 and reply_seconds <= 3600) as count_threads_answered_1h,
        count_if(age >= 86400) as count_threads_followed_24h,
        count_if(age >= 86400 and reply_seconds <= 86400) as count_threads_answered_24h,
        count(moderation_seconds) as count_threads_moderated
    from threads
    inner join windows on threads.age <= windows.window_seconds
    group by group_number, window_hours
)
{% endmacro %}

{#
  Kaplan–Meier medians: the share unanswered is the product, over the times at which answers came, of
  1 − answers ÷ threads still waiting. As a sum of logarithms, with a tolerance where it meets a half.
#}
{% macro engagement_medians() %}
waits as (
    select group_number, age, 'reply' as answer, reply_seconds as answered_seconds
    from threads
    union all
    select group_number, age, 'moderation' as answer, moderation_seconds as answered_seconds
    from threads
),

wait_ends as (
    select
        group_number,
        window_hours,
        answer,
        coalesce(answered_seconds, age) as waited_seconds,
        count(answered_seconds) as count_answered,
        count(*) as count_ended
    from waits
    inner join windows on waits.age <= windows.window_seconds
    group by 1, 2, 3, 4
),

still_waiting as (
    select
        *,
        sum(count_ended) over (
            partition by group_number, window_hours, answer order by waited_seconds desc
        ) as count_waiting
    from wait_ends
),

unanswered as (
    select
        group_number,
        window_hours,
        answer,
        waited_seconds,
        -- The logarithm of nothing: small enough for whatever follows.
        sum(
            case
                when count_answered = count_waiting then -1000.0
                else ln(1 - cast(count_answered as double) / cast(count_waiting as double))
            end
        ) over (
            partition by group_number, window_hours, answer order by waited_seconds
        ) <= ln(cast(0.5 as double)) + 1e-9 as is_at_most_half
    from still_waiting
    where count_answered > 0
),

medians as (
    select
        group_number,
        window_hours,
        min(waited_seconds) filter (where answer = 'reply') as first_reply_median_seconds,
        min(waited_seconds) filter (where answer = 'moderation') as moderator_reply_median_seconds
    from unanswered
    where is_at_most_half
    group by group_number, window_hours
)
{% endmacro %}

{# Who replied to whom. A pair is as young as its newest reply, and reciprocal as its older direction. #}
{% macro engagement_dyads() %}
acts as (
    select
        group_number,
        act_id,
        participant_id,
        row_number() over (
            partition by group_number, act_id order by age desc, participant_id
        ) as act_number
    from log
    where kind in ('thread_started', 'reply_posted')
),

directed_replies as (
    select log.group_number, log.participant_id, acts.participant_id as author_id, min(log.age) as age
    from log
    inner join acts
        on log.group_number = acts.group_number
        and log.in_reply_to_act_id = acts.act_id
        and log.participant_id <> acts.participant_id
    where log.kind = 'reply_posted' and acts.act_number = 1
    group by log.group_number, log.participant_id, acts.participant_id
),

dyads as (
    select
        group_number,
        case when participant_id < author_id then participant_id else author_id end as lower_id,
        case when participant_id < author_id then author_id else participant_id end as higher_id,
        min(age) as age,
        case when count(*) = 2 then max(age) end as reciprocal_age
    from directed_replies
    group by 1, 2, 3
),

dyads_counted as (
    select
        group_number,
        window_hours,
        count(*) as count_dyads,
        count_if(reciprocal_age <= window_seconds) as count_dyads_reciprocal
    from dyads
    inner join windows on dyads.age <= windows.window_seconds
    group by group_number, window_hours
)
{% endmacro %}

{# How unevenly people write. #}
{% macro engagement_contributions() %}
posts_by_narrowest as (
    select
        group_number,
        participant_id,
        {{ narrowest_window('age') }} as narrowest_hours,
        count(*) as count_posts
    from log
    where kind in ('thread_started', 'reply_posted')
    group by 1, 2, 3
),

contributors as (
    select group_number, window_hours, participant_id, sum(count_posts) as count_posts
    from posts_by_narrowest
    inner join windows on posts_by_narrowest.narrowest_hours <= windows.window_hours
    group by group_number, window_hours, participant_id
),

ranked_contributors as (
    select
        group_number,
        window_hours,
        count_posts,
        row_number() over (partition by group_number, window_hours order by count_posts) as place,
        count(*) over (partition by group_number, window_hours) as count_contributors
    from contributors
),

contributions as (
    select
        group_number,
        window_hours,
        max(count_contributors) as count_contributors,
        sum(count_posts) filter (
            where place > count_contributors - ceil(cast(count_contributors as double) / 100)
        ) as count_posts_of_top,
        cast(sum((2 * place - count_contributors - 1) * count_posts) as double)
        / cast(max(count_contributors) * sum(count_posts) as double) as contribution_gini
    from ranked_contributors
    group by group_number, window_hours
)
{% endmacro %}
