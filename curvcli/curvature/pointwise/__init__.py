"""Derivatives per sample: by the model's inputs, and in two parts at a layer's output."""
