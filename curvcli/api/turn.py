"""One computation at a time, whichever thread starts it; and errors in a Python caller's words."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType

from curvcli.errors import CurvcliError
from curvcli.models.threads import restore_threads

_FRAMEWORK = "tensorflow"  # its module, and its logger


class Turn:
    """A lock that the same thread may take again; while it is held TensorFlow's logger tells errors only.

    When it is let go, frameworks and NumPy compute on as many threads as before.

    Where a notebook has imported TensorFlow itself, it logs about the graphs traced here, a screenful per call.
    """

    def __init__(self) -> None:
        """Free."""
        self._lock = threading.RLock()
        self._levels: list[int | None] = []  # to go back to, where it was changed

    def __enter__(self) -> None:
        """Wait for other threads."""
        self._lock.acquire()
        logger = logging.getLogger(_FRAMEWORK)
        talks = _FRAMEWORK in sys.modules and logger.level < logging.ERROR
        self._levels.append(logger.level if talks else None)
        if talks:
            logger.setLevel(logging.ERROR)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let others go on."""
        level = self._levels.pop()
        if level is not None:
            logging.getLogger(_FRAMEWORK).setLevel(level)
        if not self._levels:
            restore_threads()
        self._lock.release()


# Held by every function that opens a model or computes, in the whole process: an opened model's tensors say by what is
# differentiated, and the frameworks' settings, the threads of NumPy's products and the measured memory are the
# process's own. The same thread may take it again.
TURN = Turn()


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
