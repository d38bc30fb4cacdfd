"""The quantities a run can compute: each turns options into computations, and their results into records."""
