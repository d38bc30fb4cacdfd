"""Where a run's tasks are carried out: in this process, in several of this machine, or in a cluster's actors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from curvcli.analysis.division import gpus_of, worth_several
from curvcli.analysis.options.request import Request
from curvcli.analysis.options.shared import AUTO, DataOptions, ModelOptions
from curvcli.analysis.session import Session, open_session
from curvcli.analysis.shipping import ShippedOpener, files_of
from curvcli.analysis.silence import SILENCE
from curvcli.curvature.kept import KeptObjective
from curvcli.curvature.tasks import Data
from curvcli.engine.interface import Engine
from curvcli.engine.serial import SerialEngine
from curvcli.engine.workers.engine import Workers
from curvcli.engine.workers.registry import CREWS, LOCAL, Means
from curvcli.errors import UsageError
from curvcli.models.processors import available_processors


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
        if not self.folder.is_dir():
            raise UsageError(f"{self.folder}: no such folder.")
        os.chdir(self.folder)
        return open_session(self.model, self.data, SILENCE, needs_layers=False).objective

    def close(self) -> None:
        """Nothing was made."""

    def shipped(self, session: Session) -> ShippedOpener:
        """The same where none of the files are.

        Raises:
            CurvcliError: see ``files_of``.
        """
        return ShippedOpener(files_of(session), self.folder, self.model, self.data, _open)


def _open(model: ModelOptions, data: DataOptions, folder: Path) -> Data:
    return DataOpener(model, data, folder)()


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
        workers: how many.
        opener: opens the data in another process; None for this one alone.
        engine: the name of what carries the workers.
        means: what it may use.
        ship: whether the files are sent to the workers.
    """

    workers: int = 1
    opener: DataOpener | None = None
    engine: str = LOCAL
    means: Means = field(default_factory=Means)
    ship: bool = False

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
        if self.opener is None:
            kept = KeptObjective(objective, names, limit, reserved=reserved)
            yield Engines(SerialEngine(objective), SerialEngine(kept))
            return
        opener = self.opener.shipped(session) if self.ship else self.opener
        crew = CREWS[self.engine](self.means)
        room = max(limit - reserved - objective.memory.in_use(), 0) if limit else 0
        with Workers(objective, opener, crew, count=self.workers, parameters=names, room=room) as workers:
            yield Engines(workers.engine(kept=False), workers.engine(kept=True))


def place_of(request: Request, session: Session, seconds: float) -> Place:
    """Where a planned run is carried out.

    Args:
        request: with the threads of each process, and the number of workers where that is settled.
        session: opened.
        seconds: that it would take here.
    """
    computing, model = request.computing, request.model
    workers = computing.workers
    if workers == AUTO:
        # One thread each: small operations don't gain from more, and several processes do.
        workers = available_processors() if worth_several(seconds) else 1
        model = replace(model, threads=model.threads or 1)
    if not isinstance(workers, int) or (workers == 1 and computing.engine == LOCAL):
        return Place()
    opener = DataOpener(model, request.data, Path.cwd())
    means = Means(model.threads or 1, gpus_of(model.device), computing.address)
    return Place(workers, opener, computing.engine, means, computing.ship)
