"""What the warehouse costs: landing, full and incremental builds, and queries over ten million events.

`__main__` runs it, `rows` says what is measured and what must hold, `worlds` and `lakes` make what is read:
raw rows, and lakes of them. The peers are plain DuckDB (`plain`) and dlt (`peers`).
"""
