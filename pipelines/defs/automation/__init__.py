"""What starts the warehouse and the reconciliation: their jobs, a sensor and schedules."""
