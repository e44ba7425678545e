"""A synthetic partner: makes the events of communities that do not exist, the same ones for a seed.

It knows the contract and the client, and nothing of what happens behind the gateway. Its tenants are of
the synthetic class, and everything computed from them says so. `catalogue` has them all by name.
"""
