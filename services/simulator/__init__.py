"""A synthetic partner: makes the events of a community that does not exist, the same ones for a seed.

It knows the contract and the client, and nothing of what happens behind the gateway. Its tenant is of
the synthetic class, and everything computed from it says so.
"""
