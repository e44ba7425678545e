{{ config(materialized='table') }}

{#
  What an update reads of outcomes, read once: the events that count of the people who are touched. When everything is
  computed nobody asks for it, and it is empty.
#}
{% set touched = {'model': 'int_participants_touched', 'columns': ['tenant_id', 'participant_id']} %}

{{ kept_events(of_touched(ref('stg_outcomes__events'), touched), ref('stg_outcomes__events')) }}
{{ 'and false' if not is_update() }}
