"""What a person writes: the dataset spec and the layer patterns, validated and frozen.

`dataset` is the spec, made of the tables in `sources` and `columns`; `mistakes` words what is wrong with one; `lookup`
finds it when no option names it; `patterns` chooses layers by name. Nothing is imported here, and nothing in this
room needs NumPy, so that help stays quick.
"""
