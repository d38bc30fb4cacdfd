"""The shape of the code: rooms, imports between them, circles, the size of files."""
