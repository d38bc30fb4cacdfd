"""torch.export archives, read without torch.export: nothing in a file is unpickled, evaluated or made into source."""
