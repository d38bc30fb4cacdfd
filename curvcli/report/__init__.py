"""What a run found, kept in one HDF5 file: records, writing with resume, reading, rendering.

The room knows no model and no framework. `records`, `quantities`, `split`, `inputs` and `checks` say what goes in,
`parts` keeps a run's finished layers until they are merged, `write` writes a report in one go, `read` opens one,
`render` turns it into text, `digest` compares two. Nothing is imported here, so that a command loads h5py only when it
touches a report.
"""
