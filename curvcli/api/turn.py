"""One computation at a time, whichever thread starts it; and errors in a Python caller's words."""

from __future__ import annotations

import threading
from types import TracebackType

from curvcli.errors import CurvcliError

# Held by every function that opens a model or computes, in the whole process: an opened model's tensors say by what is
# differentiated, and the frameworks' settings, the threads of NumPy's products and the measured memory are the
# process's own. The same thread may take it again.
TURN = threading.RLock()


class InPython:
    """While entered, errors of curvcli that pass name options as arguments, ``layer=``."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Respell what passes."""
        if isinstance(error, CurvcliError):
            error.speak_python()


IN_PYTHON = InPython()
