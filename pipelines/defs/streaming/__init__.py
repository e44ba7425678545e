"""What runs by itself before the warehouse: services, topics and live tables, with their state as it is."""
