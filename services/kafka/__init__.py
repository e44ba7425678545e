"""The door to Kafka: the topic registry and thin wrappers around kafka-python.

What travels on a topic is decided by the services on either side of it.
"""
