"""The options of a run: frozen records that check their values; command line and Python fill in the same ones."""
