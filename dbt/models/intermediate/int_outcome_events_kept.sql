{{ kept_events(ref('stg_outcomes__events')) }}
