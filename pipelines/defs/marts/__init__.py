"""The gate between marts and evidence, as checks on the marts."""
