{{ kept_events('stg_outcomes__events') }}
