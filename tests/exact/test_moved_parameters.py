"""Batches with moved parameters leave nothing behind: graphs made before stay valid, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sessions import session_of

from curvcli.curvature.kept import KeptObjective
from curvcli.curvature.losses_at import Decay, LossesAlong
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work
from curvcli.models.arrays import Rows

from .conftest import ROOT

MODELS = [
    "mlp_tanh.pt",
    pytest.param("mlp_tanh.pt2", marks=pytest.mark.skipif(torch.__version__ < (2, 8), reason="saved by a later torch")),
    "mlp_tanh",
]


class StoppedError(BaseException):
    """Like Ctrl-C, between two steps."""


@pytest.mark.parametrize("name", MODELS)
def test_a_kept_graph_gives_the_same_after_parameters_were_moved(name: str) -> None:
    """To the bit: after a whole pass, one that failed, one that was stopped, and one that was left half way."""
    session = session_of(ROOT / "sample_models" / name, limit=8, batch_size=4)
    layer = session.model.layers[-1]
    names = [p.name for p in layer.parameters]
    values = {p.name: session.model.values(p.name) for p in layer.parameters}
    moved = {key: array * 1.5 for key, array in values.items()}
    objective = KeptObjective(session.objective, names, 1 << 40)
    vectors = Rows(np.random.default_rng(0).standard_normal((1, layer.size)))

    def product() -> np.ndarray:
        space = objective.space(layer.parameters)
        totals = [space.to_numpy(batch.hessian_products(names, vectors)) for batch in objective.batches(names)]
        return np.asarray(sum(totals))

    def losses() -> list[float]:
        return [batch.loss() for batch in objective.batches_at(moved, ())]

    before, elsewhere = product(), losses()
    own = [batch.loss() for batch in session.objective.batches(())]
    assert np.abs(np.array(elsewhere) - own).max() > 1e-3
    assert_same(product, before)
    with pytest.raises(ValueError, match="in between"):
        for _ in objective.batches_at(moved, ()):
            raise ValueError("in between")
    assert_same(product, before)

    engine = SerialEngine(objective)
    along = LossesAlong(values, [moved], np.array([[0.1], [0.2]]), Decay(0.0, frozenset(), 0.0, {}))
    work = Work(along)
    steps = 0

    def stop(passes: int) -> None:
        nonlocal steps
        steps += passes
        if steps == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        work.run(engine, stop)
    assert_same(product, before)
    work.run(engine)
    whole = Work(along)
    whole.run(engine)
    np.testing.assert_array_equal(work.result, whole.result)
    batches = objective.batches_at(moved, ())
    next(batches)
    batches.close()
    assert_same(product, before)
    assert losses() == elsewhere
    assert [batch.loss() for batch in session.objective.batches(())] == own
    for key, array in values.items():
        np.testing.assert_array_equal(session.model.values(key), array)


def assert_same(product: Callable[[], np.ndarray], before: np.ndarray) -> None:
    np.testing.assert_array_equal(product(), before)


def test_a_run_of_several_quantities_is_what_each_is_alone(tmp_path: Path) -> None:
    """A slice between them moves the parameters, and changes no other figure."""
    from curvcli.cli.main import run
    from curvcli.report.hdf5.read import read_report

    model = ROOT / "sample_models" / "mlp_tanh.pt"
    tables = {
        "a": "[trace]\n",
        "b": '[slice]\nalong = ["random", "top"]\npoints = 3\n[trace]\n[coupling]\nprobes = 2\n',
    }
    for name, table in tables.items():
        head = f'model = "{model}"\noutput = "{name}.h5"\nlimit = 16\nlayer = ["fc2", "fc3"]\n'
        (tmp_path / f"{name}.toml").write_text(head + table)
        assert run(["run", str(tmp_path / f"{name}.toml"), "-q"]) == 0
    alone, together = (read_report(tmp_path / f"{name}.h5") for name in tables)
    for one, other in zip(alone.layers, together.layers, strict=True):
        assert one.trace == other.trace
    assert [study.name for study in together.studies] == ["slice", "coupling"]


def test_a_config_names_the_other_model_from_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it names the model itself."""
    from curvcli.analysis.run_config import read_run_config

    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "c.toml").write_text('model = "a.pt"\n[slice]\ntowards = "../b.pt"\n')
    monkeypatch.chdir(tmp_path)
    options = read_run_config(Path("folder/c.toml")).request.own["slice"]
    assert getattr(options, "towards", None) == Path("b.pt")
