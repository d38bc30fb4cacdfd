"""Taylor coefficients carried forward through TensorFlow's operations."""
