"""Where a run's tasks are carried out: in this process, or in several workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from curvcli.analysis.options.request import Request
from curvcli.analysis.options.shared import DataOptions, ModelOptions
from curvcli.analysis.session import Session, open_session
from curvcli.analysis.silence import SILENCE
from curvcli.curvature.kept import KeptObjective
from curvcli.curvature.tasks import Data
from curvcli.engine.interface import Engine
from curvcli.engine.serial import SerialEngine
from curvcli.engine.workers.engine import Workers
from curvcli.errors import UsageError
from curvcli.models.processors import available_processors
from curvcli.wording import option

AUTO: Final = "auto"
# Seconds of work from which on several processes pay: each opens the model anew.
_WORTH: Final = 60.0


@dataclass(frozen=True)
class DataOpener:
    """Opens a run's model and data in another process.

    Attributes:
        model: as the run has it.
        data: likewise.
        folder: that relative paths are seen from.
    """

    model: ModelOptions
    data: DataOptions
    folder: Path

    def __call__(self) -> Data:
        """The objective.

        Raises:
            CurvcliError: something has changed since the run opened them.
        """
        os.chdir(self.folder)
        return open_session(self.model, self.data, SILENCE, needs_layers=False).objective


@dataclass(frozen=True)
class Engines:
    """Engines over the same batches.

    Attributes:
        once: for what goes over them once.
        kept: whose batches keep their graphs.
    """

    once: Engine
    kept: Engine


@dataclass(frozen=True)
class Place:
    """Where tasks are carried out.

    Attributes:
        workers: how many processes; 1 for this one.
        opener: opens the data in another process; None for this one alone.
    """

    workers: int = 1
    opener: DataOpener | None = None

    @contextmanager
    def engines(self, session: Session, names: Sequence[str], limit: int, reserved: int) -> Iterator[Engines]:
        """While entered, engines over a session's data.

        Args:
            session: opened.
            names: of the parameters by which batches may be differentiated.
            limit: bytes that may be in use where graphs are kept; 0 for none.
            reserved: bytes of these for vectors.
        """
        objective = session.objective
        if self.workers == 1 or self.opener is None:
            kept = KeptObjective(objective, names, limit, reserved=reserved)
            yield Engines(SerialEngine(objective), SerialEngine(kept))
            return
        room = max(limit - reserved - objective.memory.in_use(), 0) if limit else 0
        with Workers(objective, self.opener, count=self.workers, parameters=names, room=room) as workers:
            yield Engines(workers.engine(kept=False), workers.engine(kept=True))


def with_threads(request: Request) -> Request:
    """The request with each process's share of the threads, where it names a number of workers.

    Raises:
        UsageError: this system can't start them.
    """
    workers = request.computing.workers
    if not isinstance(workers, int) or workers == 1:
        return request
    if os.name != "posix":
        raise UsageError(f"{option('workers', workers)}: needs a Unix system; leave it out here.")
    threads = request.model.threads or available_processors()
    return replace(request, model=replace(request.model, threads=max(1, threads // workers)))


def place_of(request: Request, session: Session, seconds: float) -> Place:
    """Where a planned run is carried out.

    Args:
        request: with each process's share of the threads.
        session: opened.
        seconds: that it would take here.
    """
    workers, model = request.computing.workers, request.model
    if workers == AUTO:
        # One thread each: small operations don't gain from more, and several processes do.
        workers = available_processors() if seconds > _WORTH and os.name == "posix" else 1
        model = replace(model, threads=model.threads or 1)
    if not isinstance(workers, int) or workers == 1:
        return Place()
    return Place(workers, DataOpener(model, request.data, Path.cwd()))
