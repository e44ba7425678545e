{{ admitted_identities('group_events') }}
