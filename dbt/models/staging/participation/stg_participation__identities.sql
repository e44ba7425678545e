{{ admitted_identities('participation_events') }}
