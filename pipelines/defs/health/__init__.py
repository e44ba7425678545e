"""Whether what stands before the warehouse is healthy, as checks on topics and raw tables."""
