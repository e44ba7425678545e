{{ kept_events(ref('stg_participation__events')) }}
