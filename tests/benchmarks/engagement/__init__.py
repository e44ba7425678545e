"""What keeping rolling engagement costs: the engagement worker beside two peers, on one broker, in one run.

`__main__` runs it, `rows` says what is measured and what must hold, `workload` and `records` make what all
workers read. The peers are in `peers`.
"""
