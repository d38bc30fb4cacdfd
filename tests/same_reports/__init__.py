"""Reports before and after a change of the code's shape: made by every command, held to be equal."""
