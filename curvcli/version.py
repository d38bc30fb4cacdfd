"""The version of curvcli, importable by every room without importing the package's public names."""

__version__ = "0.1.0"
