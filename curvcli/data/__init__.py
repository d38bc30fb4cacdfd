"""Samples come in: small readers behind one interface, preprocessing, and NumPy batches in a fixed order.

`interface` holds what others see; `registry` lists the formats, each of which is a file. They share `files` (what a
path means), `shards` (many files as one) and `forward` (rows of what is decoded forward). `preprocess` turns stored
columns into inputs, `classes` names into numbers; `samples` puts them together. Nothing is imported here.
"""
