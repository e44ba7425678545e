"""The upkeep of the lake, as an asset."""
