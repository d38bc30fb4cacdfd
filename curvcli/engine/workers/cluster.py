"""Ray's cluster: one of this machine that a run starts and ends itself, or one that is there and is joined."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curvcli.engine.workers.guardian import Guardian
from curvcli.engine.workers.processes import import_path
from curvcli.errors import UsageError
from curvcli.wording import option

_ADDRESS: Final = re.compile(r"auto|(ray://)?[\w.-]+:\d{1,5}|(ray://)?\[[0-9a-fA-F:]+\]:\d{1,5}")
# Seconds in which the machine at an address has to take a connection, and then the cluster to answer.
_CONNECTED: Final = 5.0
_ANSWERED: Final = 20
# What Ray's environment is where the user has not set it. Usage is never told; a cluster of a run's own lets only those
# connect that know its token; an actor that computes on no GPU keeps the variable that hides them.
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_gcs_rpc_server_connect_timeout_s": str(_ANSWERED),
    "RAY_gcs_rpc_server_reconnect_timeout_s": str(_ANSWERED),
}
# Ray's sockets lie deep in its folder, and a socket's path has at most 107 characters.
_LONGEST_FOLDER: Final = 40
# Bytes of memory for objects: a share of the machine's, and what Ray wants at least.
_SHARE_OF_OBJECTS, _LEAST_FOR_OBJECTS = 0.3, 80 << 20
_SHARED_MEMORY: Final = Path("/dev/shm")

# By which processes of this process's own clusters know each other.
_token: str | None = None
_mode = False  # whether the mode was set when Ray was imported


@dataclass(frozen=True)
class Node:
    """One machine of a cluster.

    Attributes:
        processors: that Ray gives away there.
        gpus: likewise.
    """

    processors: int
    gpus: int = 0

    def holds(self, threads: int, gpus: int) -> int:
        """How many actors of so many threads and GPUs each have room."""
        actors = self.processors // threads
        return min(actors, self.gpus // gpus) if gpus else actors


class Cluster:
    """Ray, joined or started when it is first needed; one that was there before stays as it was."""

    def __init__(self, address: str | None) -> None:
        """Touch nothing yet.

        Args:
            address: of a cluster that is there; None for one of this machine, unless the process has Ray at work.

        Raises:
            UsageError: Ray is not installed, or this is no address.
        """
        if address is not None and not _ADDRESS.fullmatch(address):
            raise UsageError(
                f"{option('address', address)}: is no address of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT."
            )
        self.address = address
        self._ray: Any = None
        self._ours = False
        self._folder: Path | None = None
        self._guardian: Guardian | None = None

    @property
    def ray(self) -> Any:
        """Ray's module.

        Raises:
            UsageError: it is not installed.
        """
        if self._ray is None:
            with _environment(_QUIET), _environment(self._guarded()):
                try:
                    import ray
                except ImportError as error:
                    missing = error.name in {"ray", None}
                    why = "is not installed" if missing else f"can't be imported: {error}"
                    raise UsageError(
                        f"{option('engine', 'ray')}: Ray {why}; run: pip install 'curvcli[ray]'."
                    ) from None
            self._ray = ray
        return self._ray

    @property
    def local(self) -> bool:
        """Whether a cluster of this machine alone would be started, or was."""
        return self.address is None and (self._ours or not self.ray.is_initialized())

    def _guarded(self) -> Mapping[str, str]:
        """What keeps others off a cluster of this machine; where the user has settled that, nothing.

        Ray looks at the mode when it is first imported. Imported before by others, it sets the mode itself, by default,
        and then would write a token into the user's home if there were none here.
        """
        global _token, _mode
        if self.address is not None or (_token is None and "RAY_AUTH_MODE" in os.environ):
            return {}
        if _token is None:
            _token, _mode = secrets.token_hex(32), "ray" not in sys.modules
        return {"RAY_AUTH_TOKEN": _token, **({"RAY_AUTH_MODE": "token"} if _mode else {})}

    def nodes(self) -> tuple[Node, ...]:
        """The machines of a cluster that is there.

        Raises:
            UsageError: it can't be reached.
        """
        self.join()
        resources = [one["Resources"] for one in self.ray.nodes() if one["Alive"]]
        return tuple(Node(int(one.get("CPU", 0)), int(one.get("GPU", 0))) for one in resources)

    def join(self) -> None:
        """Connect to the cluster at the address; to none, if this process is connected already.

        Raises:
            UsageError: it can't be reached.
        """
        if self.ray.is_initialized():
            return
        address = str(self.address)
        if address != "auto":
            _knock(address)
        try:
            with _environment(_QUIET), _own_signals():
                self.ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:
            raise UsageError(
                f"{option('address', address)}: can't join a Ray cluster: {_why(error, address)}"
            ) from None
        self._ours = True
        _keep_quiet()

    def start(self, processors: int, gpus: int) -> None:
        """Have a cluster: the one at the address, the one at work in this process, or one with so much to give away."""
        if self.address is not None or self.ray.is_initialized():
            self.join()
            return
        self._folder = _folder()
        self._guardian = Guardian(self._folder)
        own = {"PYTHONPATH": import_path(), **self._guarded()}
        with _environment(_QUIET), _environment(own, over=True), _own_signals():
            self._ours = True
            self.ray.init(
                address="local",
                num_cpus=processors,
                num_gpus=gpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                _temp_dir=str(self._folder),
                _system_config={"prestart_worker_first_driver": False},
                **_room_for_objects(self._folder),
            )
        _keep_quiet()

    def end(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._ours and self.ray.is_initialized():
            with _own_signals():
                self.ray.shutdown()
        self._ours = False
        if self._guardian is not None:
            self._guardian.end()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = self._guardian = None


def _knock(address: str) -> None:
    """See whether anybody is there: Ray itself asks for a minute.

    Raises:
        UsageError: nobody is.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECTED).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"{option('address', address)}: nothing answers there ({_first_line(error)}).\n"
            f"Is the cluster running, and the port its own (ray start says it; 6379, or 10001 with ray://)?"
        ) from None


def _why(error: BaseException, address: str) -> str:
    """Why a cluster can't be joined, and what to do."""
    if "AuthToken" in f"{error} {error.__cause__}":
        return (
            "it wants another token.\nSet RAY_AUTH_MODE=token, and the token that it was started with in "
            "RAY_AUTH_TOKEN or ~/.ray/auth_token."
        )
    why = "there is none on this machine" if address == "auto" else _first_line(error)
    return f"{why}.\nStart one by Ray's own start command, or leave {option('address')} out to compute on this machine."


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:200]


def _folder() -> Path:
    """A new folder for a cluster of this machine."""
    place = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="curvcli-", dir=place if len(place) < _LONGEST_FOLDER - 17 else "/tmp"))


def _room_for_objects(folder: Path) -> Mapping[str, Any]:
    """How much memory objects may take, and where, if not in shared memory: containers often have little of it."""
    import psutil

    wanted = max(int(psutil.virtual_memory().available * _SHARE_OF_OBJECTS), _LEAST_FOR_OBJECTS)
    with suppress(OSError):
        free = int(shutil.disk_usage(_SHARED_MEMORY).free * 0.9)
        if free >= _LEAST_FOR_OBJECTS:
            return {"object_store_memory": min(wanted, free)}
    free = int(shutil.disk_usage(folder).free * 0.5)
    return {"object_store_memory": max(min(wanted, free), _LEAST_FOR_OBJECTS), "_plasma_directory": str(folder)}


@contextmanager
def _environment(values: Mapping[str, str], *, over: bool = False) -> Iterator[None]:
    """While entered, the environment has these, where it has not others."""
    before = {name: os.environ.get(name) for name in (*values, "RAY_AUTH_MODE")}
    os.environ.update({name: value for name, value in values.items() if over or name not in os.environ})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _own_signals() -> Iterator[None]:
    """Put back the handlers of signals that Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _keep_quiet() -> None:
    """Keep Ray from printing what happens to its processes, on standard output: what matters is raised."""
    with suppress(ImportError):
        from ray._private import worker

        if hasattr(worker, "print_to_stdstream"):
            worker.print_to_stdstream = _unprinted


def _unprinted(*arguments: object, **options: object) -> None:
    """Print nothing."""
