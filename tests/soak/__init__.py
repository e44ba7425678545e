"""Long campaigns against a stack of their own: what takes too long for `make test`.

`__main__` runs `fuzz` (which sends `noise`) and `kills`; `progress` lets them go on where they were.
"""
