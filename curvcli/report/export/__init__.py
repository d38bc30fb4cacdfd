"""A report's tables and entries for other programs: what a table is, what fills it, and a writer per format.

`table` says what a table is, `rows` fills those that are small, `entries` streams that of single parameter entries;
`csv`, `json` and `parquet` write any of them, `write` puts the file in its place.
"""
