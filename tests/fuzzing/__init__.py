"""Commands on files that others made: mutated, truncated, spliced, hostile. Deterministic by seed.

A kind of file is one module with a `Generator`, and one line in `registry`. The runner starts each case in a fresh
process, forked from one in which the imports are done, and `verdict` says what no case may do.
"""
