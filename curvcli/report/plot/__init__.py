"""A report as pictures: one module per figure, and a page that holds them all.

`view` is what of a report is drawn; `draw` knows the figures by name and turns them into files' bytes. `bars`,
`histogram`, `channels`, `kernel`, `spectrum`, `density` and `scatter` each make one kind; `style`, `scale`, `names` and
`panels` are what they share; `page` is the HTML. Nothing is imported here: matplotlib is an extra, and slow to load.
"""
