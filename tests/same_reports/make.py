"""Makes 25 reports: every computing command, in both frameworks, exact results and estimates.

    python tests/same_reports/make.py FOLDER [--only NAME]

The curvcli that is imported is the one that is measured: set PYTHONPATH to another checkout for its reports, and hold
the two folders against each other with ``compare.py``.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
model = "{models}/{model}"
limit = 24
batch-size = 10
output = "{output}"
layer = ["fc3"]
[diag]
[trace]
[eigs]
k = 3
[density]
steps = 12
[hessian]
"""

# What to type after ``curvcli``, the model last; by the report's name.
COMMANDS = {
    "torch_diag": "diag --limit 37 --batch-size 16 mlp_tanh.pt",
    "torch_diag_vgg": "diag --limit 8 --layer conv4_3 --layer fc8 vgg16_digits.pt",
    "torch_diag_float64": "diag --limit 12 --dtype float64 --layer norm* attention_digits.pt",
    "torch_diag_budget": "diag --limit 20 --budget 4 --probes 6 attention_digits.pt",
    "torch_diag_hutchinson": "diag --limit 20 --method hutchinson --probes 5 --layer fc2 mlp_tanh.pt",
    "torch_diag_xdiag": "diag --limit 20 --method xdiag --probes 6 --layer fc2 mlp_tanh.pt",
    "torch_trace": "trace --limit 37 --batch-size 16 mlp_tanh.pt",
    "torch_trace_xtrace": "trace --limit 20 --batch-size 8 --method xtrace --probes 9 --whole-model mlp_tanh.pt",
    "torch_trace_hutchpp": "trace --limit 20 --method hutch++ --probes 9 --layer fc* mlp_tanh.pt",
    "torch_trace_gauss_newton": "trace --limit 20 --matrix gauss_newton --method hutchinson --probes 7 mlp_tanh.pt",
    "torch_eigs": "eigs --limit 24 --batch-size 10 --whole-model -k 3 --which both --vectors mlp_tanh.pt",
    "torch_eigs_blocks": "eigs --limit 24 -k 2 attention_digits.pt",
    "torch_density": "density --limit 24 --batch-size 10 --whole-model --method lanczos --steps 15 mlp_tanh.pt",
    "torch_hessian": "hessian --limit 24 --batch-size 10 --layer norm --layer fc3 mlp_tanh.pt",
    "torch_inputs": "inputs --limit 6 poisson_tanh.pt",
    "torch_split": "split --limit 6 --at fc2 mlp_tanh.pt",
    "torch_run": "run mlp_tanh.pt",
    "tf_diag": "diag --limit 37 --batch-size 16 mlp_tanh",
    "tf_diag_budget": "diag --limit 12 --budget 4 --probes 6 attention_digits",
    "tf_trace": "trace --limit 20 --batch-size 8 --method xtrace --probes 6 --whole-model mlp_tanh",
    "tf_eigs": "eigs --limit 24 --batch-size 10 --whole-model -k 3 mlp_tanh",
    "tf_density": "density --limit 24 --layer fc3 mlp_tanh",
    "tf_hessian": "hessian --limit 24 --layer fc3 mlp_tanh",
    "tf_inputs": "inputs --limit 6 poisson_tanh",
    "tf_split": "split --limit 6 --at fc2 mlp_tanh",
}


def words(name: str, folder: Path) -> list[str]:
    """The command, with its model and report."""
    command, *options, model = shlex.split(COMMANDS[name])
    report = folder / f"{name}.h5"
    if command != "run":
        return [command, *options, str(ROOT / "sample_models" / model), "--output", str(report)]
    config = folder / f"{name}.toml"
    config.write_text(CONFIG.format(models=ROOT / "sample_models", model=model, output=report), encoding="utf-8")
    return [command, str(config)]


def make(name: str, folder: Path) -> int:
    """One report; the exit code of its command."""
    fixed = {"SOURCE_DATE_EPOCH": "1700000000", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "curvcli", *words(name, folder), "--quiet"],
        env=os.environ | fixed,
        capture_output=True,
        text=True,
        check=False,
    )
    (folder / f"{name}.txt").write_text(done.stdout, encoding="utf-8")
    sys.stdout.write(f"{name}: exit {done.returncode}\n{done.stderr}")
    sys.stdout.flush()
    return done.returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    said = parser.parse_args()
    said.folder.mkdir(parents=True, exist_ok=True)
    for one in COMMANDS:
        if said.only in one:
            make(one, said.folder.resolve())
