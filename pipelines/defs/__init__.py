"""The orchestration: assets, checks, schedules and sensors. The only folder that knows Dagster.

Folders stand in the order of the flow: landing, admission, transformation, evidence, publication; then
reconciliation, which compares it with the live figures, and automation, which starts both. Each is thin: what
is done stands in the packages beside this one.
"""
