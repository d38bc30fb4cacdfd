"""Taylor coefficients carried forward through torch's operations."""
