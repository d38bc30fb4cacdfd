"""Saved TensorFlow models, opened to the protocol of ``models.base``."""
