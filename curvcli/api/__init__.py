"""The commands as Python functions, for notebooks; ``curvcli`` itself exports them."""
