"""Jobs that an operator starts by hand, with settings: each says first what it would do."""
