"""Statistics: pure functions from numbers and frames to estimates, and the tables built of them.

No orchestration and no database's tables are changed here; what may be published of an estimate is
decided by `pipelines.publication`.
"""
