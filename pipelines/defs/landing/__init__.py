"""What stands before the warehouse: topics and raw tables, which services fill."""
