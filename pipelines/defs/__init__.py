"""The orchestration: assets, checks, schedules and sensors. The only folder that knows Dagster.

Folders stand in the order of the flow: landing, admission, transformation, marts, evidence, publication; then
reconciliation, which compares it with the live figures, health, which looks at what lands, maintenance, which
keeps the lake in order, and automation, which starts all of them. Each is thin: what is done stands in the
packages beside this one.
"""
