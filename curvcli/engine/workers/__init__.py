"""Tasks in other processes of this machine: messages, what a worker does, and the engine that directs them."""
