"""What starts the jobs and tells of those that failed: jobs, schedules and sensors."""
