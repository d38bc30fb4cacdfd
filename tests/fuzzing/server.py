"""A process in which everything is imported, and which forks for each command: ``python server.py torch``.

One JSON object per line comes in: words, folder, env, seconds, bytes. One goes out when the command has ended: its exit
code, or null where it was stopped; the most memory it held; what it wrote stands in ``stdout`` and ``stderr`` beside
the folder, or went to ``terminal``, if one is named. ``stop_before_merge`` ends a run as Ctrl-C does, when all layers
are done and the report is not yet written.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

ADAPTERS = {
    "torch": ("curvcli.models.torch.torchscript",),
    "tensorflow": ("curvcli.models.tensorflow.savedmodel", "curvcli.models.tensorflow.keras_file", "keras"),
}


def warm_up(framework: str) -> None:
    """Import what commands import; threads come later, for a fork has only one."""
    for name in (framework, *ADAPTERS[framework], "curvcli.cli.main", "curvcli.report.lookup", "scipy.linalg"):
        import_module(name)
    for name in (
        "export.entries",
        "export.write",
        "export.rows",
        "render",
        "compare.render",
        "rules.render",
        "plot.draw",
        "plot.page",
    ):
        import_module(f"curvcli.report.{name}")
    for name in "diag trace eigs density hessian inputs split run check layers show compare assert export".split():
        import_module(f"curvcli.cli.{name}")


def command(task: dict[str, Any], folder: Path) -> int:
    """Run one command in this process, which is its own."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(folder.parent / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if terminal := task.get("terminal"):
        for number in range(3):
            os.dup2(os.open(terminal, os.O_RDWR | os.O_NOCTTY), number)
    for number in range(3, 64):
        if number not in (0, 1, 2):
            try:
                os.close(number)
            except OSError:
                continue
    os.chdir(folder)
    os.environ.update(task["env"])
    resource.setrlimit(resource.RLIMIT_AS, (task["bytes"], task["bytes"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from curvcli.cli.main import run

    if task.get("stop_before_merge"):
        _stop_before_merge()
    sys.argv = ["curvcli", *task["words"]]
    return run(task["words"])


def _stop_before_merge() -> None:
    from curvcli.report.hdf5.parts import Parts

    def merge(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    job: Any = import_module("curvcli.analysis.job")
    job._WORTH_KEEPING = 0.0
    parts: Any = Parts
    parts.merge = merge
    parts.drop_progress = lambda *_: None


def serve() -> None:
    """Answer until the input ends."""
    warm_up(sys.argv[1])
    _answer({"ready": True})
    for line in sys.stdin:
        task = json.loads(line)
        folder = Path(task["folder"])
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = command(task, folder)
                sys.stdout.flush()
                sys.stderr.flush()
            except BaseException:
                import traceback

                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(code)
        _answer(_ended(child, task["seconds"]))


def _answer(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _ended(child: int, seconds: float) -> dict[str, Any]:
    start = time.monotonic()
    stopped = False
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            break
        if time.monotonic() - start > seconds and not stopped:
            os.kill(child, signal.SIGKILL)
            stopped = True
        time.sleep(0.01)
    code = None if stopped else os.waitstatus_to_exitcode(status)
    return {"code": code, "seconds": time.monotonic() - start, "peak": usage.ru_maxrss * 1024}


if __name__ == "__main__":
    serve()
