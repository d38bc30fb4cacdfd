"""Saved files opened to one protocol: layers and an objective."""
