"""Samples come in: small readers behind one interface, preprocessing, and NumPy batches in a fixed order.

`interface` holds what others see; `npz`, `npy` and `csv` each read one format; `preprocess` turns stored columns into
inputs; `samples` puts them together. Nothing is imported here.
"""
