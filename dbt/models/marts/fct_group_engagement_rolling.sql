{% set touched = {'model': 'int_groups_touched', 'columns': ['tenant_id', 'group_id']} %}
{{ config(unique_key=['tenant_id', 'group_id', 'window_hours'], meta={'touched': touched}) }}

-- Of everybody who has not withdrawn, for operators: not limited to those who consented to research, never
-- published. What each figure means: docs/engagement.md.
{{ group_engagement_rolling(
    of_touched_groups(ref('stg_participation__events')),
    '(select tenant_id, participant_id from ' ~ ref('dim_participant') ~ ' where withdrawn_at is not null)',
) }}
