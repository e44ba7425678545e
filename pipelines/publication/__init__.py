"""What leaves the lake: disclosure control of candidate tables and their release to PostgreSQL.

No statistics here: rows come from `pipelines.evidence` as they are computed.
"""
