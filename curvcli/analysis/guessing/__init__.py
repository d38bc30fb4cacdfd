"""A dataset spec guessed from a model and its data: what goes where, by which loss, and why."""
