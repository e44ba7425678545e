{{ kept_events('stg_participation__events') }}
