"""Engagement figures from Kafka to `live.*` in PostgreSQL, where operators look.

The figures are computed by `services.engagement`; nothing is computed here.
"""
