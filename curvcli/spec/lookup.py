"""Finds the dataset spec that belongs to a model, when no option names one."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from curvcli.errors import SpecError, UsageError
from curvcli.files import TEXT_LIMIT, UNREADABLE, is_folder, is_regular, regular_file, size_text
from curvcli.spec.dataset import LoadedSpec, Tables, parse_dataset_spec, read_text
from curvcli.spec.mistakes import listed
from curvcli.wording import either, option

SPEC_NAME = "curvcli.toml"


@dataclass(frozen=True)
class FoundSpec:
    """A spec's text, not yet validated.

    Attributes:
        text: TOML.
        path: the file that holds it: the spec itself, or the torch archive it lies in. Relative paths in the spec
            start from this file's folder.
        source_description: how it was found, to be shown: ``digits.toml (beside the model)``.
        label: what messages about it begin with.
        model: that it lies in, if it does: it then came with the model, and may not name any file.
    """

    text: str
    path: Path
    source_description: str
    label: str
    model: Path | None = None

    def load(self, tables: Tables) -> LoadedSpec:
        """Validate it.

        Args:
            tables: what ``[source]`` may be, one per format (see ``data.registry``).

        Raises:
            SpecError: all mistakes at once, one per line.
        """
        return parse_dataset_spec(self.text, tables, path=self.path, label=self.label, model=self.model)


def find_dataset_spec(model_path: Path, explicit: Path | None, cwd: Path) -> FoundSpec:
    """Find the spec: named, in the model, beside the model, inside the archive, in the working directory.

    Args:
        model_path: a SavedModel folder, a torch.export archive or a TorchScript file.
        explicit: the path that an option names; nothing else is tried if given.
        cwd: the working directory.

    Raises:
        UsageError: there is none.
        SpecError: there is one that is no UTF-8 text or can't be read.
    """
    if explicit is not None:
        regular_file(explicit, "a dataset spec", shown=option("data", str(explicit)))
        return _read(explicit, f"named with {option('data')}")
    tried: list[str] = []
    inside = in_model(model_path)
    for path in (*filter(None, [inside]), *beside(model_path)):
        if is_regular(path):
            how, model = ("in the model", model_path) if path == inside else ("beside the model", None)
            return _read(path, how, model)
        tried.append(str(path))
    if is_regular(model_path) and zipfile.is_zipfile(model_path):
        packed = _in_archive(model_path)
        if packed is not None:
            return packed
        tried.append(f"{SPEC_NAME} inside {model_path.name}")
    if os.path.lexists(cwd / SPEC_NAME):
        return _read(cwd / SPEC_NAME, "in the working directory")
    raise UsageError(
        f"No dataset spec for {model_path}; looked for {listed([*tried, f'{SPEC_NAME} in the working directory'])}.\n"
        f"Write one: {either(f'curvcli init {model_path} DATA', 'curvcli.init(model, data)')}; or name it: "
        f"{option('data', 'spec.toml')}."
    )


def in_model(model_path: Path) -> Path | None:
    """Where a spec lies in a model that is a folder; None for a file, and for what no path can be."""
    return _named(model_path) / "assets.extra" / SPEC_NAME if is_folder(model_path) else None


def beside(model_path: Path) -> tuple[Path, ...]:
    """Where a spec is looked for beside a model, in this order; nowhere beside the root of all folders."""
    model = _named(model_path)
    if not model.name:
        return ()
    places = [model.with_name(f"{model.name}.toml")]
    if not is_folder(model) and model.suffix:
        places.append(model.with_suffix(".toml"))
    return tuple(places)


def _named(model_path: Path) -> Path:
    # "." and ".." have no name to append ".toml" to.
    return model_path if model_path.name not in ("", "..") else model_path.resolve()


def _in_archive(archive: Path) -> FoundSpec | None:
    """The extra file of a torch archive, which torch stores as ``<top>/extra/<name>``."""
    label = f"{archive.name}: {SPEC_NAME}"
    try:
        with zipfile.ZipFile(archive) as members:
            for member in members.namelist():
                if member.split("/")[1:] == ["extra", SPEC_NAME]:
                    with members.open(member) as stream:
                        data = stream.read(TEXT_LIMIT + 1)
                    if len(data) > TEXT_LIMIT:
                        raise SpecError(f"{label}: too large for a dataset spec (at most {size_text(TEXT_LIMIT)}).")
                    text = data.decode("utf-8-sig")
                    return FoundSpec(text, archive, f"{SPEC_NAME} inside {archive.name}", label, archive)
    except UnicodeDecodeError as error:
        raise SpecError(f"{label}: not UTF-8 text (byte {error.start}).") from None
    except UNREADABLE as error:
        raise SpecError(f"{label}: can't be read ({type(error).__name__}); is the file complete?") from None
    return None


def _read(path: Path, how: str, model: Path | None = None) -> FoundSpec:
    return FoundSpec(read_text(path), path, f"{path} ({how})", path.name, model)
