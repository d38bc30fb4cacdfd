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
from curvcli.models.live import Example, file_name
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
    with _in_inference_mode(model), _buffers_kept(model), _silence():
        with torch.no_grad():
            _try_forward(model, name, args, kwargs)
        try:
            program = torch.export.export(model, args, kwargs, dynamic_shapes=_any_number(args, kwargs))
        except Exception as error:
            raise ModelError(
                f"model: torch.export can't take {name} as it is: {_first_line(error)}\n"
                "Pass what torch.jit.script makes of it, or change what torch.export names."
            ) from error
    return save_program(program, folder / f"{file_name(name)}.pt2")


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
        passed = "in a dict of all, the targets are called labels" if kwargs else "several inputs are a tuple or a dict"
        hint = _as_in_training(model, args, kwargs)
        raise UsageError(
            f"data: {name} does not take inputs of these shapes, {shapes}: {_first_line(error)}\n"
            + (hint or f"Its forward takes {takes}; {passed}.")
        ) from error


def _as_in_training(model: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """What a training loop does to its images before the model, if the model takes them then; else nothing.

    It is not done here: nobody can tell by what the pixels were divided.
    """
    tensors = [*args, *kwargs.values()]
    if len(tensors) != 1:
        return ""
    image = tensors[0]
    whole = not image.is_floating_point()
    first = next((p for p in model.parameters() if p.is_floating_point()), None)
    fractions = image.to(torch.float32 if first is None else first.dtype)
    divided = ".float() / 255" if image.dtype == torch.uint8 else ".float()"
    ways = [("", fractions, whole)]
    if image.ndim == 4:  # samples, height, width, channels
        ways.append((".permute(0, 3, 1, 2)", fractions.permute(0, 3, 1, 2), True))
    for moved, changed, differs in ways:
        if not differs:
            continue
        try:
            model(*([changed] if args else []), **dict.fromkeys(kwargs, changed))
        except Exception:  # this way is not it either
            continue
        done = f"x{moved}{divided if whole else ''}"
        return f"It takes {done}. Pass batches as in training: data=[({done}, y) for x, y in loader]."
    return ""


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
def _buffers_kept(model: torch.nn.Module) -> Iterator[None]:
    """A forward may count its calls in a buffer: after, there are the same tensors with the same values."""
    kept = [
        (module, key, buffer, None if buffer is None else buffer.detach().clone())
        for module in model.modules()
        for key, buffer in module._buffers.items()
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, key, buffer, values in kept:
                module._buffers[key] = buffer
                if buffer is not None and values is not None and not torch.equal(buffer, values):
                    buffer.copy_(values)


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
