"""The quantities a run can compute: each turns options into pieces of work, and their results into records."""
