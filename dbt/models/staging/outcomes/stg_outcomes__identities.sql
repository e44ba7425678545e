{{ admitted_identities('outcome_events') }}
