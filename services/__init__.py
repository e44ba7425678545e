"""The way of an event from the RPC to Kafka, to live figures and into the lake.

Nothing here knows Dagster, dbt or a published table: that is `pipelines`.
"""
