"""What every process needs: settings, logging, heartbeat, and the doors to PostgreSQL and the lake.

No Kafka (that is `services.kafka`) and nothing about a single event domain belongs here.
"""
