"""What a sweep adds to single runs: stable folders, what was done before, and processes for its jobs."""
