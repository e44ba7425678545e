"""Long campaigns against a stack of their own: what takes too long for `make test`.

`__main__` runs `fuzz` (which sends `noise`), `kills`, `engagement` and `warehouse`; `progress` lets them go
on where they were.
"""
