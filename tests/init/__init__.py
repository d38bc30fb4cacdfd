"""A dataset spec guessed from a model and its data, against the one that is known to be right."""
