"""Options and arguments that nobody would type, and environment variables likewise."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

from .interface import Bases, Case
from .mutations import STRANGE_TEXTS

NUMBERS = (
    *("nan", "inf", "-inf", "1e400", "-1", "0", "1", "1.5", "1e-400", "0x10", "1_000", "١٢", ""),
    *("9" * 40, "9" * 5000, "9223372036854775808", "-9223372036854775809"),
)
SIZES = ("0", "-1", "1", "9" * 400, "1e9", "5X", "1KiB", "nan", "999999999T")
PATHS = (
    *("pipe", "folder", "loop", "dangling", "/dev/zero", "/dev/null", "/", ".", "..", "", "-", "x" * 5000),
    *("report.h5/x", "model.pt", "data.npz", "no/such/folder/x.h5", "../outside/secret.txt", "\x1b[2J", "~nobody/x"),
)
# By command: what it is called with, then its options by what they take.
COMMANDS: dict[str, tuple[list[str], dict[str, tuple[str, ...]]]] = {
    "diag": (
        ["model.pt", "-q"],
        {"--probes": NUMBERS, "--rtol": NUMBERS, "--budget": NUMBERS, "--method": STRANGE_TEXTS},
    ),
    "trace": (["model.pt", "-q"], {"--probes": NUMBERS, "--rtol": NUMBERS, "--matrix": STRANGE_TEXTS}),
    "eigs": (["model.pt", "-q"], {"-k": NUMBERS, "--tolerance": NUMBERS, "--max-products": NUMBERS}),
    "density": (["model.pt", "-q", "--layer", "two"], {"--steps": NUMBERS}),
    "hessian": (["model.pt", "-q"], {}),
    "inputs": (
        ["model.pt", "-q"],
        {"--probes": NUMBERS, "--budget": NUMBERS, "--order": NUMBERS, "--input": STRANGE_TEXTS},
    ),
    "slice": (
        ["model.pt", "-q"],
        {"--along": (*STRANGE_TEXTS, "top:2", "gradient"), "--towards": PATHS, "--points": NUMBERS, "--reach": NUMBERS},
    ),
    "coupling": (["model.pt", "-q"], {"--probes": NUMBERS, "--rtol": NUMBERS, "--method": STRANGE_TEXTS}),
    "activations": (
        ["model.pt", "-q"],
        {"--bits": NUMBERS, "--probes": NUMBERS, "--rtol": NUMBERS, "--budget": NUMBERS, "--of": STRANGE_TEXTS},
    ),
    "evidence": (
        ["model.pt", "-q"],
        {
            "--prior": NUMBERS,
            "--noise": NUMBERS,
            "--steps": NUMBERS,
            "--method": STRANGE_TEXTS,
            "--matrix": STRANGE_TEXTS,
        },
    ),
    "sensitivity": (
        ["model.pt", "-q"],
        {
            "--bits": NUMBERS,
            "--sparsity": NUMBERS,
            "--granularity": (*STRANGE_TEXTS, "group:0", "group:999999999", "group:-1"),
            "--target-bits": NUMBERS,
            "--bits-output": PATHS,
            "--obs": NUMBERS,
            "--damping": NUMBERS,
        },
    ),
    "sharpness": (
        ["model.pt", "-q"],
        {
            "--measure": STRANGE_TEXTS,
            "--rho": NUMBERS,
            "--minibatch": NUMBERS,
            "--minibatches": NUMBERS,
            "--alpha": NUMBERS,
            "--preconditioner": PATHS,
        },
    ),
    "layers": (["model.pt"], {}),
    "check": (["model.pt"], {"--against": PATHS}),
    "show": (["report.h5"], {"--top": NUMBERS, "--sort": STRANGE_TEXTS, "--get": STRANGE_TEXTS}),
    "compare": (
        ["report.h5", "other.h5"],
        {"--rtol": NUMBERS, "--atol": NUMBERS, "--sigma": NUMBERS, "--quantity": STRANGE_TEXTS},
    ),
    "plot": (["report.h5", "-k", "bars"], {"--parameter": STRANGE_TEXTS, "--against": PATHS, "--output": PATHS}),
    "assert": (["report.h5"], {"--max": (*STRANGE_TEXTS, "trace=nan", "=", "a:trace=1"), "--sigma": NUMBERS}),
    "export": (["report.h5", "-o", "-"], {"--table": STRANGE_TEXTS}),
}
SHARED = {
    "--seed": NUMBERS,
    "--limit": NUMBERS,
    "--batch-size": NUMBERS,
    "--memory-limit": SIZES,
    "--data": PATHS,
    "--output": PATHS,
    "--device": STRANGE_TEXTS,
    "--dtype": STRANGE_TEXTS,
}
EVERY = {"--layer": (*STRANGE_TEXTS, "re:" + "(a+)+" * 3, "[" * 500), "--config": PATHS, "--log-file": PATHS}


class Options:
    """A command line with one or two absurd options."""

    name = "options"
    framework = "torch"

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        for copy in ("report.h5", "other.h5", "out.h5"):
            shutil.copy(bases.folder / bases.reports[0], folder / copy)
        os.mkfifo(folder / "pipe")
        (folder / "folder").mkdir()
        (folder / "loop").symlink_to("loop")
        (folder / "dangling").symlink_to("nothing")
        command = rng.choice(list(COMMANDS))
        words, own = COMMANDS[command]
        options = own | (SHARED if "model.pt" in words and command != "layers" else {}) | EVERY
        result, env = [command, *words], {}
        if rng.random() < 0.15:  # the argument itself
            result[1] = rng.choice(PATHS)
        for name in rng.sample(list(options), rng.choice([1, 1, 2])):
            text = rng.choice(options[name]).replace("\0", "")
            if rng.random() < 0.2 and name.startswith("--"):
                env[f"CURVCLI_{command.upper()}_{name[2:].upper().replace('-', '_')}"] = text[:100_000]
            else:
                result.append(f"{name}={text[:100_000]}" if name.startswith("--") else f"{name}{text[:100_000]}")
        if "model.pt" in words and command not in {"layers"} and "--output" not in " ".join(result):
            result += ["-o", "out.h5"]
        return Case(result, env, "out.h5", "options")
