"""Numbers from products: NumPy on the model protocol, no framework."""
