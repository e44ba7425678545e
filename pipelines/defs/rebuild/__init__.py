"""Everything downstream of the raw tables once more, as a job."""
