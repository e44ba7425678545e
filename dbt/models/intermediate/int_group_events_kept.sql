{{ kept_events(ref('stg_groups__events')) }}
