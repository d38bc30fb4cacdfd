"""Studies: what is asked of a network as a whole, in several steps of which later ones depend on earlier ones."""
