"""What starts the warehouse: the job, its sensor and its schedule."""
