"""How curved a trained network's loss is, from the saved model alone."""

__version__ = "0.1.0"
