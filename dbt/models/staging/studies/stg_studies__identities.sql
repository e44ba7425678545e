{{ admitted_identities('study_events') }}
