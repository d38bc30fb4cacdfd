"""Runs cases: a folder of their own, a process of their own, and a look at everything that is there afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .interface import Bases, Case, Generator

# Of somebody else's file and report; the name of a part, which is a digest, may have the digits in it by chance.
_SECRET = re.compile(r"(?<![0-9a-f])4711(?![0-9a-f])")
SECONDS = 60.0
ADDRESSES = 6 << 30
PEAK = 4 << 30


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; None where it was stopped after `SECONDS`, negative for a signal.
        seconds: it took.
        peak: bytes that it held at most.
        stdout: what it wrote.
        stderr: likewise.
    """

    code: int | None
    seconds: float
    peak: int
    stdout: bytes
    stderr: str


class Server:
    """The process that forks for each command; use it in a ``with`` statement.

    Attributes:
        framework: that it imports, before all commands.
    """

    def __init__(self, framework: str = "torch") -> None:
        self.framework = framework

    def __enter__(self) -> Server:
        script = Path(__file__).with_name("server.py")
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [sys.executable, str(script), self.framework],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        assert self._answer() == {"ready": True}
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)

    def run(self, words: Sequence[str], folder: Path, env: Mapping[str, str] | None = None, **more: Any) -> Ended:
        """Run a command in a folder; its output goes to files beside it."""
        home = folder.parent / "home"
        home.mkdir(exist_ok=True)
        task = {
            "words": list(words),
            "folder": str(folder),
            "env": {"HOME": str(home), "TMPDIR": str(home), **(env or {})},
            "seconds": SECONDS,
            "bytes": ADDRESSES,
            **more,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        texts = [(folder.parent / name).read_bytes() for name in ("stdout", "stderr")]
        return Ended(answer["code"], answer["seconds"], answer["peak"], texts[0], texts[1].decode("utf-8", "replace"))

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


class Servers:
    """A server per framework, started when it is first needed; use it in a ``with`` statement."""

    def __enter__(self) -> Servers:
        self._stack = ExitStack()
        self._servers: dict[str, Server] = {}
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __getitem__(self, framework: str) -> Server:
        if framework not in self._servers:
            self._servers[framework] = self._stack.enter_context(Server(framework))
        return self._servers[framework]


def try_case(generator: Generator, seed: int, root: Path, bases: Bases, server: Server) -> list[str]:
    """Make and run a case in `root`, which is removed again; returns what is wrong with it, in sentences."""
    folder = root / "work"
    outside = root / "outside"
    for path in (folder, outside, root / "home"):
        path.mkdir(parents=True)
    (outside / "secret.txt").write_text("nobody's business 4711\n")
    for name in ("model.pt", "model.pt.toml", "data.npz"):
        shutil.copy(bases.folder / name, folder / name)
    shutil.copy(bases.folder / bases.reports[0], folder / "out.h5")
    # A string's hash is another in each process; seeds are not.
    case = generator.make(random.Random(f"{generator.name} {seed}"), folder, bases)
    before = _contents(root)
    ended = server.run(case.words, folder, case.env)
    wrong = verdict(case, ended, before, _contents(root))
    shutil.rmtree(root)
    told = [word if len(word) < 200 else f"{word[:200]}…" for word in case.words]
    return [f"{generator.name} {seed} ({case.story}): curvcli {' '.join(told)}: {one}" for one in wrong]


def verdict(case: Case, ended: Ended, before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What no command may do."""
    wrong = []
    said = ended.stderr[-1500:]
    if ended.code is None:
        wrong.append(f"still running after {SECONDS:g} s")
    elif ended.code not in {0, 1, 2, 3, 4}:
        wrong.append(f"ended with {ended.code}: {said}")
    if "Traceback" in ended.stderr:
        wrong.append(f"a traceback: {said}")
    if "bug in curvcli" in ended.stderr:
        wrong.append(f"a bug: {said}")
    if ended.code in {2, 3} and not ended.stderr.strip():
        wrong.append(f"nothing is said about exit code {ended.code}")
    if ended.peak > PEAK:
        wrong.append(f"{ended.peak / 2**30:.1f} GiB of memory")
    if any(not (c.isprintable() or c == "\n") for c in ended.stderr):
        wrong.append(f"control characters: {said!r}")
    if len(ended.stderr) > 100_000:
        wrong.append(f"{len(ended.stderr)} characters of errors")
    if _SECRET.search(ended.stderr) or _SECRET.search(ended.stdout.decode("utf-8", "replace")):
        wrong.append("a file of somebody else's is quoted")
    own = {f"work/{case.output}", "stdout", "stderr"} if case.output else {"stdout", "stderr"}
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)} - own
    strange = {name for name in changed if not (case.output and name.startswith(f"work/{case.output}.parts"))}
    if strange := {name for name in strange if not _is_asked_for(case, name)}:
        wrong.append(f"files written elsewhere: {sorted(strange)[:5]}")
    report = f"work/{case.output}"
    if case.output and ended.code not in {0, 1, 4} and before.get(report) not in {None, after.get(report)}:
        wrong.append("the earlier report is gone")
    return wrong


def _is_asked_for(case: Case, name: str) -> bool:
    """Whether the command line asks for the file, or for what is written beside or below it."""
    asked = [word.partition("=")[2] for word in case.words if word.startswith(("--log-file=", "--output="))]
    asked += [text for key, text in case.env.items() if key.endswith(("_LOG_FILE", "_OUTPUT"))]
    asked += case.asked
    places = {os.path.normpath(f"work/{one}") for one in asked if one}
    if "." in places and "/" not in name:  # what lies beside the folder
        return True
    below = tuple(f"{place}{end}" for place in places for end in (".parts", "/"))
    return name in places or name.startswith(below) or ("dangling" in asked and name.startswith("work/nothing"))


def _contents(root: Path) -> dict[str, str]:
    """Every name below a folder, with a digest of what is there; nothing is waited for."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink():
                digest = f"link to {path.readlink()}"
            elif path.is_file():
                large = path.stat().st_size > 1 << 30
                digest = "large" if large else hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                digest = "no file"
            found[path.relative_to(root).as_posix()] = digest
    return found
