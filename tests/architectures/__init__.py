"""Architectures people save, at toy size, through the command line in every format that holds them."""
