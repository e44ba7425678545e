{% set touched = {'model': 'int_groups_touched', 'columns': ['tenant_id', 'group_id']} %}
{{ config(unique_key=['tenant_id', 'group_id', 'window_hours'], meta={'touched': touched}) }}

{% set everything = ref('stg_participation__events') %}
{% set of_groups = ref('int_participation_touched') if model.resource_type != 'unit_test' %}
{% set all_events = of_groups if is_update() else everything %}

-- Of everybody who has not withdrawn, for operators: not limited to those who consented to research, never
-- published. What each figure means: docs/engagement.md.
{{ group_engagement_rolling(
    all_events,
    '(select tenant_id, participant_id from ' ~ ref('dim_participant') ~ ' where withdrawn_at is not null)',
) }}
