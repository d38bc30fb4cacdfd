"""The options that many commands share: model, data, selection, computing, output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from curvcli.analysis.options.kinds import File, Flag, Names, Number, OneOf, Size, Text, Whole, WholeOr
from curvcli.analysis.options.record import Options
from curvcli.models.choice import Choice

Dtype = Literal["float32", "float64"]
DTYPES: Final[tuple[Dtype, ...]] = get_args(Dtype)
# Systems that could start more of them don't get faster by it.
MOST_THREADS: Final = 1024
MOST_WORKERS: Final = 1024
AUTO: Final = "auto"
ENGINES: Final = ("local", "ray")


@dataclass(frozen=True)
class ModelOptions(Options):
    """Which model, where, and how precisely.

    Attributes:
        model: the path of a saved model.
        device: ``cpu``, ``cuda``, ``cuda:1`` ….
        dtype: of the whole computation.
        signature: of a SavedModel that has several; None for its only one, or ``serving_default``.
        tag_set: of a SavedModel that has several graphs: its tags, with commas between; None for its only one, or
            ``serve``.
        threads: of the processor's, to compute on; None for what the user has set for the framework, or what this
            process may use.
    """

    model: Annotated[Path, File()]
    device: Annotated[str, Text()] = "cpu"
    dtype: Annotated[Dtype, OneOf(DTYPES)] = "float32"
    signature: Annotated[str | None, Text()] = None
    tag_set: Annotated[str | None, Text()] = None
    threads: Annotated[int | None, Whole(1, MOST_THREADS)] = None

    @property
    def choice(self) -> Choice:
        """Which model of the file."""
        return Choice(self.signature, self.tag_set)


@dataclass(frozen=True)
class DataOptions(Options):
    """Which samples.

    Attributes:
        data: the path of the dataset spec; None for the one in or beside the model, then ``curvcli.toml``.
        limit: samples of a random subset; None for what the spec says.
        batch_size: samples at once; None for what the spec says.
        seed: of all that is random; None for what the spec says.
        stratify: whether a random subset keeps the shares of the classes; False for what the spec says.
        shuffle: whether samples come in a random order; False for what the spec says.
        data_rtol: error over the data, relative to each trace, at which a random subset is large enough; None to use
            all samples that ``limit`` leaves.
    """

    data: Annotated[Path | None, File()] = None
    limit: Annotated[int | None, Whole(1)] = None
    batch_size: Annotated[int | None, Whole(1)] = None
    seed: Annotated[int | None, Whole(0)] = None
    stratify: Annotated[bool, Flag()] = False
    shuffle: Annotated[bool, Flag()] = False
    data_rtol: Annotated[float | None, Number(0, above=True)] = None


@dataclass(frozen=True)
class Selection(Options):
    """Which layers.

    Attributes:
        layer: patterns; none for all.
        exclude: patterns of what is left out.
        whole_model: whether all parameters together are one block, besides the layers if any are named.
    """

    layer: Annotated[tuple[str, ...], Names()] = ()
    exclude: Annotated[tuple[str, ...], Names()] = ()
    whole_model: Annotated[bool, Flag()] = False


@dataclass(frozen=True)
class ComputingOptions(Options):
    """How it is computed.

    Attributes:
        memory_limit: bytes in use at most; None for what is in use plus half of what is free.
        verify: whether results are checked in the run itself.
        allow_random: whether a model is computed that answers differently each time.
        workers: processes that share the work; ``auto`` for as many as processors where it is long. None for this one
            alone, or as many actors as the cluster has room for.
        engine: what carries several workers: processes of this machine, or Ray.
        address: of a Ray cluster; None for one of this machine.
        ship: whether model, spec and data are sent to the cluster's machines.
    """

    memory_limit: Annotated[int | None, Size()] = None
    verify: Annotated[bool, Flag()] = True
    allow_random: Annotated[bool, Flag()] = False
    workers: Annotated[int | str | None, WholeOr(1, MOST_WORKERS, AUTO)] = None
    engine: Annotated[str, OneOf(ENGINES)] = "local"
    address: Annotated[str | None, Text()] = None
    ship: Annotated[bool, Flag()] = False


@dataclass(frozen=True)
class OutputOptions(Options):
    """Where the report goes, and how a run starts.

    Attributes:
        output: the report's path; None for one beside the model, named after the command.
        force: whether a report of another command, model or dataset spec is replaced.
        resume: whether an interrupted run of the same command is resumed.
        dry_run: whether the run is only planned.
    """

    output: Annotated[Path | None, File()] = None
    force: Annotated[bool, Flag()] = False
    resume: Annotated[bool, Flag()] = True
    dry_run: Annotated[bool, Flag()] = False
