"""What a pipeline is told: one verdict per layer and check, as JUnit XML or GitHub annotations, and grids of text.

Pure functions from a result to text; `curvcli.report.compare` and `curvcli.report.rules` share them.
"""
