"""The release of candidates to readers, as an asset."""
