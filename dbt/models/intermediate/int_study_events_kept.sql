{{ kept_events(ref('stg_studies__events')) }}
