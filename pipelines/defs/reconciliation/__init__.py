"""Live figures against the lake, as an asset with a check."""
