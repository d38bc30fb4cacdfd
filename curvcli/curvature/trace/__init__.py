"""The trace of diagonal blocks: one file per estimator, each with a standard error, and what they share."""
