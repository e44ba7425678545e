"""What the suites of the marts cost. Not part of the test run: `make bench-quality`."""
