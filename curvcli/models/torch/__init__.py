"""Saved torch models, opened to the protocol of ``models.base``."""
