{{ kept_events('stg_studies__events') }}
