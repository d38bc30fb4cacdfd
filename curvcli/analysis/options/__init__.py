"""What a run is told to do: frozen records that check their values; command line and Python fill in the same ones."""
