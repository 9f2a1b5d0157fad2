"""What erde gains in speed, each figure a ratio against a baseline in the same run."""
