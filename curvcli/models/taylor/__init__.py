"""Taylor coefficients of what a model computes, carried forward operation by operation."""
