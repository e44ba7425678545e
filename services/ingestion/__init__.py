"""The gateway: authenticates a partner, checks and pseudonymises events, and answers when Kafka has them.

Nothing is stored here, and nothing is computed from events: that is everything behind Kafka.
"""
