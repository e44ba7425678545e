"""Kafka to lake: every record of the landed topics becomes rows of `raw.*`, exactly once.

Nothing is judged here but whether a record can be read; what an event means is decided by dbt, and
whether a slice may be used by `pipelines.quality`.
"""
