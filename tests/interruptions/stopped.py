"""Stops a run of each command in the middle, runs it again, and tells as JSON what was said and left."""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kills import RANDOM, ROOT, ended, forked, imported

MODEL = ROOT / "sample_models" / "mlp_tanh.pt"
COMMANDS = {
    "diag": "diag {model} --layer fc2 --layer fc3",
    "trace": "trace {model} --whole-model --method hutchinson --probes 40",
    "eigs": "eigs {model} --layer fc2 -k 3 --which both --method lanczos",
    "density": "density {model} --layer fc2 --method lanczos --probes 6 --steps 12",
    "samples": "trace {model} --whole-model --method hutchinson --probes 4 --data-rtol 0.01",
}
SAMPLES = {"samples": "--limit 1200 --batch-size 32 --data {folder}/many.toml"}
SIGNALS = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGKILL": signal.SIGKILL}


def stopped(folder: Path, words: list[str], number: int, steps: int) -> dict[str, Any]:
    """Stop a run by a signal after two thirds of its steps, and run it again."""
    first, second = folder / "first", folder / "second"
    parts = folder / ("r.h5.samples.parts" if "--data-rtol" in words else "r.h5.parts")
    codes = [ended(forked(words, at=2 * steps // 3, number=number, checkpoint=0.0, said=first))]
    left = sorted(path.name for path in parts.iterdir())
    codes.append(ended(forked(words, said=second)))
    return {
        "codes": codes,
        "stopped": first.read_text(),
        "parts": left,
        "resumed": second.read_text(),
        "bytes": (folder / "r.h5").read_bytes().hex(),
        "cleared": not list(folder.glob("*.parts")),
    }


def main() -> None:
    """Every command by SIGINT, and one by every signal."""
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    imported("torch")
    results = {}
    for command, line in COMMANDS.items():
        with TemporaryDirectory() as directory:
            folder = Path(directory)
            report, steps = folder / "r.h5", folder / "steps"
            (folder / "many.toml").write_text(RANDOM)
            samples = SAMPLES.get(command, "--limit 24 --batch-size 8").format(folder=folder)
            words = [*shlex.split(f"{line.format(model=MODEL)} {samples}"), "-o", str(report)]
            ended(forked(words, steps=steps))
            whole = report.read_bytes().hex()
            for name, number in SIGNALS.items():
                if name == "SIGINT" or command == "diag":
                    report.unlink()
                    case = stopped(folder, words, number, int(steps.read_text()))
                    results[f"{command} {name}"] = {**case, "whole": whole}
    print(json.dumps(results))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main()
