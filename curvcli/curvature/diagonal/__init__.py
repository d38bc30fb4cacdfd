"""The exact Hessian diagonal: a planner and one file per method."""
