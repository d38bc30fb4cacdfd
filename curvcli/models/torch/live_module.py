"""Saves a torch.nn.Module in memory as a torch.export archive."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch

from curvcli.errors import ModelError, UsageError
from curvcli.models.live import Example
from curvcli.models.torch.live_program import save_program
from curvcli.text import cut


def saved(model: torch.nn.Module, example: Example | None, folder: Path) -> Path:
    """Export it in inference mode, for any number of samples where its code allows; see `models.live.Saver`."""
    name = type(model).__name__
    if example is None:
        raise UsageError(
            f"model: {name} does not say what its inputs look like.\n"
            "Pass data as well: data=(x, y), or a DataLoader, of which a few samples are shown to torch.export."
        )
    args, kwargs = _arguments(model, example)
    with _in_inference_mode(model), _silence():
        with torch.no_grad():
            _try_forward(model, name, args, kwargs)
        try:
            program = torch.export.export(model, args, kwargs, dynamic_shapes=_any_number(args, kwargs))
        except Exception as error:
            raise ModelError(
                f"model: torch.export can't take {name} as it is: {_first_line(error)}\n"
                "Pass what torch.jit.script makes of it, or change what torch.export names."
            ) from error
    return save_program(program, folder / f"{name}.pt2")


def _arguments(model: torch.nn.Module, example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example as tensors, where the model is and as precise as it is."""
    first = next((p for p in model.parameters() if p.is_floating_point()), None)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    dtype = torch.float32 if first is None else first.dtype

    def tensor(array: Any) -> torch.Tensor:
        made = torch.from_numpy(np.array(array))
        return made.to(device=device, dtype=dtype if made.is_floating_point() else None)

    if isinstance(example, Mapping):
        return (), {name: tensor(array) for name, array in example.items()}
    return tuple(tensor(array) for array in example), {}


def _any_number(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The samples' axis of every input may have any length, as far as the model's code allows."""
    samples = {0: torch.export.Dim.AUTO}
    return dict.fromkeys(kwargs, samples) if kwargs else tuple(samples for _ in args)


def _try_forward(model: torch.nn.Module, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Call the model once as everybody would: a mistake in the data is then told by what the model says of it.

    Raises:
        UsageError: the model doesn't take these inputs.
    """
    try:
        model(*args, **kwargs)
    except Exception as error:
        shapes = ", ".join(str(tuple(t.shape)) for t in (*args, *kwargs.values()))
        takes = ", ".join(inspect.signature(model.forward).parameters)
        raise UsageError(
            f"data: {name} does not take inputs of these shapes, {shapes}: {_first_line(error)}\n"
            f"Its forward takes {takes}; several inputs are a tuple or a dict of arrays."
        ) from error


@contextmanager
def _in_inference_mode(model: torch.nn.Module) -> Iterator[None]:
    """Dropout off, batch norm by its running statistics; every submodule is left as it was.

    Language models of Hugging Face also return what they would need for the next token, in an object that
    torch.export does not take, unless they are told not to.
    """
    training = [(module, module.training) for module in model.modules()]
    config = getattr(model, "config", None)
    caching = getattr(config, "use_cache", None) is True
    try:
        for module, _ in training:
            module.training = False
        if caching:
            config.use_cache = False  # type: ignore[union-attr]
        yield
    finally:
        for module, was in training:
            module.training = was
        if caching:
            config.use_cache = True  # type: ignore[union-attr]


@contextmanager
def _silence() -> Iterator[None]:
    """What fails is told by an error: torch.export logs and prints pages besides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return cut(lines[0] if lines else type(error).__name__, 200)
