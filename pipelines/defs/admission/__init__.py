"""The gate between raw and staging, as assets with one check per rule."""
