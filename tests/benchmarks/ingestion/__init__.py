"""What acknowledging an event costs: the gateway beside two peers, on one broker, in one run.

`__main__` runs it, `rows` says what is measured and what must hold, `gateway` has the settings that
depend on the gateway. Go programs are in `load` (the generator) and `collector` (peer A).
"""
