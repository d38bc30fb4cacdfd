"""What a run found, kept in one HDF5 file, and all that reads it.

`records` say what goes in; `columns` is the one table of what a report's columns are; `hdf5` writes, resumes and reads.
On these stand, side by side, `render`, `compare`, `rules`, `verdicts`, `plot`, `export` and, for one value, `lookup`.
The room knows no model and no framework. Nothing is imported here, so that a command loads h5py only when it touches a
report.
"""
