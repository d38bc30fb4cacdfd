"""The losses: value, slope, Hessian factor and the targets they take, one file per loss."""
