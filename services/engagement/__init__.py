"""Participation events to rolling figures of groups: a Faust worker and its arithmetic.

An event's way: `worker` takes records from Faust, `reading` makes rows of them (`layout`), `partitions` hands
them to their `groups`, `tables` and `kernels` make the figures, `messages` and `state` what is written.
`people` is what outlives the log of 28 days, `consents` who has withdrawn, `cold` where idle groups lie.

The figures are fast and absolute; the truth is the recompute from raw by dbt. What is published to
analysts is not made here.
"""
