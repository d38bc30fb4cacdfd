"""Two reports side by side: what changed, beyond a tolerance and beyond the error bars.

`figures` says what a report holds and how sure it is of it, `diagonals` reads the errors of estimated diagonals,
`noise` says how far two estimates of one truth may lie apart, `mismatch` whether two reports are about the same
thing at all; `comparison` puts them together, `render` turns the result into text.
"""
