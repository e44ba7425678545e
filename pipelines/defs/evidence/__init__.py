"""Candidate evidence tables, as assets with blocking checks."""
