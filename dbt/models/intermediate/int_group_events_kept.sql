{{ kept_events('stg_groups__events') }}
