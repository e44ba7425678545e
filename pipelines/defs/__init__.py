"""The orchestration: assets, checks, schedules and sensors. The only folder that knows Dagster.

Folders stand in the order of the flow: streaming, which runs by itself, landing, admission, transformation,
marts, evidence, publication; then reconciliation, which compares it with the live figures, health, which
looks at what lands, maintenance, which keeps the lake in order, rebuild, which makes everything again,
operations, which people start by hand, and automation, which starts the others. Each is thin: what is done
stands in the packages beside this one.
"""
