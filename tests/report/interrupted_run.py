"""A run of four layers in a process of its own: ``REPORT KEY [LAYERS_BEFORE_DEATH]``; prints what it computes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

from curvcli.report.hdf5.parts import Parts
from curvcli.report.records.layers import LayerRecord, ParameterRecord, Provenance

report, seed, survives = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
PROVENANCE = Provenance(
    model_path="m.pt",
    model_sha256="",
    dataset_digest="",
    spec_text="",
    config_json="{}",
    command_line="curvcli diag m.pt",
    backend="torch",
    device="cpu",
    dtype="float64",
    seed=seed,
    loss="mse",
    reduction="mean",
    samples=8,
    denominator=8.0,
    loss_value=0.5,
)


def compute(index: int) -> LayerRecord:
    rng = np.random.default_rng([seed, index])
    shape = (200, 100) if index == 1 else (5, 4)
    kernel = ParameterRecord(
        label="kernel",
        name=f"net/fc{index}/kernel",
        shape=shape,
        axes=("in", "out"),
        gradient=rng.standard_normal(shape),
        diagonal=rng.standard_normal(shape).astype(np.float32),
        method="columns",
        exact=True,
        products=20,
    )
    return LayerRecord(
        name=f"net/fc{index}", kind="dense", index=index, parameters=(kernel,), seconds=rng.random() + os.getpid()
    )


with Parts(report, {"seed": seed}) as parts:
    done = parts.finished()
    # Out of model order, as workers finish.
    for index in (2, 0, 3, 1):
        if f"net/fc{index}" in done:
            continue
        print(index)  # noqa: T201
        parts.save(compute(index))
        survives -= 1
        if survives == 0:
            (parts.directory / f"half.{os.getpid()}-0123abcd.tmp").write_bytes(b"half a part")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    parts.merge(PROVENANCE)
