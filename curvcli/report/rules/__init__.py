"""What a report has to satisfy: thresholds per layer and quantity, and that everything is finite, converged or exact.

`rule` reads a rule as it is written, `judge` holds a report against rules, `render` turns the result into text.
"""
