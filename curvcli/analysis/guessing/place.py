"""Where a model's spec goes, so that it is found without being named, and what is not overwritten there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from curvcli.errors import UsageError
from curvcli.spec.lookup import beside, in_model
from curvcli.wording import option


def spec_place(model: Path, output: Path | None, *, force: bool) -> Path:
    """The file to write.

    Args:
        model: the saved model.
        output: the file that a person named; None for the one that is looked for first beside the model.
        force: whether a file may be replaced.

    Raises:
        UsageError: there is a spec already, or nothing can be written there.
    """
    inside = in_model(model)
    if output is None and inside is not None and os.path.lexists(inside):
        raise UsageError(
            f"{inside}: the model has a dataset spec in it, which is found first.\n"
            f"Edit it, or write another with {option('output')} and name that with {option('data')}."
        )
    places = beside(model) if output is None else (output,)
    if not places:
        raise UsageError(f"{model}: has no name to put a dataset spec beside; name one with {option('output')}.")
    existing = next((place for place in places if os.path.lexists(place)), None)
    place = existing or places[0]
    if os.path.isdir(place):  # noqa: PTH112 - Path.is_dir raises for names that are too long
        raise UsageError(f"{place}: is a folder; name the dataset spec in it with {option('output')}.")
    if existing is not None and not force:
        raise UsageError(
            f"{existing}: is there already; refusing to overwrite it.\n"
            f"Replace it with {option('force', True)}, or choose another {option('output')}."
        )
    folder = place.absolute().parent
    if not os.path.isdir(folder):  # noqa: PTH112 - as above
        raise UsageError(f"{place}: there is no folder {folder} to write the dataset spec to.")
    return place


def write_spec(text: str, place: Path) -> None:
    """Write all of it or nothing.

    Raises:
        UsageError: it can't be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{place.name[:40]}.", dir=place.absolute().parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            temporary.replace(place)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{place}: the dataset spec can't be written: {error.strerror or error}.") from None
