"""What the statistics of the evidence tables cost, apart from reading and writing."""
