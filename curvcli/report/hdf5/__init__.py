"""Records as HDF5: writing with resume, reading without trust."""
