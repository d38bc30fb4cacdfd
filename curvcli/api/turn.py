"""One computation at a time, whichever thread asks for it."""

from __future__ import annotations

import threading

# Held by every function that opens a model or computes, in the whole process: an opened model's tensors say by what is
# differentiated, and the frameworks' settings, the threads of NumPy's products and the measured memory are the
# process's own. The same thread may take it again.
TURN = threading.RLock()
