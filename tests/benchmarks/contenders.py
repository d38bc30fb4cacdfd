"""One contender in a process of its own: sets up, then does on command what it is asked for and says what it took.

    python contenders.py CONTENDER FOLDER DTYPE THREADS [DEVICE]

Reads the name of a task per line, answers with one line of JSON: seconds by the clock and of CPU, the bytes that it
held at most beyond what it held before, of the device's memory where that is not this machine's, and a number or list
to compare.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import BATCH, NETWORKS

Task = Callable[[], Any]
# From so many parameters on a reference to 1e-9 would take most of the run.
_LARGE = 1_000_000
# Where torch's contenders compute.
DEVICE = sys.argv[5] if len(sys.argv) > 5 else "cpu"


def fixed_vector(size: int) -> np.ndarray:
    """What every contender multiplies."""
    return np.random.default_rng(1).standard_normal(size)


def curvcli(folder: Path, dtype: str) -> dict[str, Task]:
    """Ours, from the saved model."""
    from curvcli.analysis.options.quantities import TraceOptions
    from curvcli.analysis.options.shared import DataOptions, ModelOptions
    from curvcli.analysis.quantities.base import RunPlan
    from curvcli.analysis.quantities.trace import TraceQuantity
    from curvcli.analysis.session import open_session
    from curvcli.analysis.targets import targets
    from curvcli.cli.console import Voice
    from curvcli.curvature.eigen import IterativeEigenpairs
    from curvcli.curvature.kept import KeptObjective
    from curvcli.curvature.matrices.hessian import HESSIAN
    from curvcli.curvature.operator import CurvatureOperator
    from curvcli.curvature.trace.estimate import Rule
    from curvcli.curvature.trace.registry import estimators, traces
    from curvcli.engine.serial import SerialEngine
    from curvcli.engine.work import computed

    model = folder / ("net" if (folder / "net").exists() else "net.pt")
    spec = folder / "net.pt.toml"
    session = open_session(ModelOptions(model, DEVICE, dtype), DataOptions(spec), Voice(-1))
    (target,) = targets(session.model.layers, [], whole_model=True)
    block, names = target.block, list(target.block.names)
    space = session.objective.space(block.parameters)
    vector = space.from_numpy(fixed_vector(block.size)[None])

    def opened() -> SerialEngine:
        return SerialEngine(KeptObjective(session.objective, names, 1 << 40))

    class Product:
        """One, of a vector as products take it (see ``curvature.algorithm.Algorithm``)."""

        passes_per_batch, at_most = 1, False

        def steps(self, about: Any, kept: Any) -> Any:
            return (yield from CurvatureOperator.of(about, block, HESSIAN).times(vector))

    def product(engine: SerialEngine) -> list[float]:
        return space.entries(computed(Product(), engine), 0, 5)[0].tolist()

    kept = opened()
    product(kept)

    def gradient() -> None:
        for batch in session.objective.batches(names):
            batch.gradient(names)

    def trace(method: Any) -> float:
        engine = opened()
        rule = Rule(16, None, 0, engine.denominator, engine.batch_weights, 0.0)
        (found,) = computed(traces(estimators([block], None, method, rule, 1 << 40)), engine)
        return found[block.name].value

    def exact() -> float:
        quantity = TraceQuantity(RunPlan(session, (target,), 1 << 40), TraceOptions(method="exact"))
        engine = opened()
        for work in quantity.work:
            work.run(engine)
        return quantity._exact_record(target).value

    def top(tolerance: float) -> list[float]:
        search = IterativeEigenpairs(
            block,
            k=5,
            which="largest",
            tolerance=tolerance,
            seed=0,
            matrix=HESSIAN,
            weight_decay=0.0,
            basis=1000,
            max_products=2000,
        )
        return computed(search, opened()).pairs.values.tolist()

    return {
        "gradient": gradient,
        "product": lambda: product(opened()),
        "further": lambda: product(kept),
        "trace": lambda: trace("hutchinson"),
        "xtrace": lambda: trace("xtrace"),
        "exact trace": exact,
        "top 5": lambda: top(1e-4),
        "reference": lambda: top(1e-9 if block.size < _LARGE else 1e-6),
    }


def eager(folder: Path, dtype: str) -> tuple[torch.nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]:
    """The module and the same batches, for those who need the model's source."""
    net = NETWORKS[folder.name].module()
    net.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    kind = getattr(torch, dtype)
    with np.load(folder / "data.npz") as arrays:
        x, y = torch.from_numpy(arrays["x"]).to(kind), torch.from_numpy(arrays["y"])
    x, y = x.to(DEVICE), y.to(DEVICE)
    return net.to(DEVICE, kind).eval(), [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, len(x), BATCH)]


def curvlinops(folder: Path, dtype: str, *, compiled: bool = False) -> dict[str, Task]:
    """HessianLinearOperator, SciPy's eigsh on it."""
    from curvlinops import HessianLinearOperator, hutchinson_trace, xtrace
    from scipy.sparse.linalg import eigsh

    net, batches = eager(folder, dtype)
    parameters = list(net.parameters())
    module = torch.compile(net) if compiled else net
    loss = torch.nn.CrossEntropyLoss()
    operator = HessianLinearOperator(module, loss, parameters, batches, check_deterministic=False)
    vector = torch.from_numpy(fixed_vector(operator.shape[1])).to(parameters[0])

    def gradient() -> None:
        for x, y in batches:
            torch.autograd.grad(loss(module(x), y), parameters)

    def top() -> list[float]:
        start = np.random.default_rng(0).standard_normal(operator.shape[1])
        found = eigsh(operator.to_scipy(), k=5, which="LA", tol=1e-4, v0=start, return_eigenvectors=False)
        return np.sort(found)[::-1].tolist()

    return {
        "gradient": gradient,
        "product": lambda: (operator @ vector)[:5].tolist(),
        "trace": lambda: float(hutchinson_trace(operator, 16)),
        "xtrace": lambda: float(xtrace(operator, 16)),
        "top 5": top,
    }


def pyhessian(folder: Path, dtype: str) -> dict[str, Task]:
    """Its own trace and power iteration, over a list of batches."""
    from pyhessian import hessian

    net, batches = eager(folder, dtype)
    computer = hessian(net, torch.nn.CrossEntropyLoss(), dataloader=batches, cuda=DEVICE != "cpu")
    flat = torch.from_numpy(fixed_vector(sum(p.numel() for p in net.parameters()))).to(next(net.parameters()))
    sizes = [p.numel() for p in net.parameters()]
    vector = [part.reshape(p.shape) for part, p in zip(flat.split(sizes), net.parameters(), strict=True)]

    def product() -> list[float]:
        _, found = computer.dataloader_hv_product(vector)
        return torch.cat([part.reshape(-1) for part in found])[:5].tolist()

    return {
        "product": product,
        # It divides by the trace without its sign, and so stops at once where that is negative.
        "trace": lambda: float(np.mean(computer.trace(maxIter=16, tol=-np.inf))),
        "top 5": lambda: computer.eigenvalues(maxIter=500, tol=1e-4, top_n=5)[0],
    }


def gradient_tape(folder: Path, dtype: str) -> dict[str, Task]:
    """A tape in a tape over the loaded signature, traced once, one vector at a time."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / "net"))
    call = loaded.signatures["serving_default"]
    name = next(iter(call.structured_input_signature[1]))
    with np.load(folder / "tf.npz") as arrays:
        x, y = tf.constant(arrays["x"]), tf.constant(arrays["y"])
    weights = list(call.trainable_variables) or [v for v in call.variables if v.dtype.is_floating]
    sizes = [int(np.prod(w.shape)) for w in weights]

    def loss(part: Any, labels: Any) -> Any:
        # Not by ``call``: only what was loaded keeps the variables alive that are not differentiated by.
        logits = next(iter(loaded.signatures["serving_default"](**{name: part}).values()))
        return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)) / len(y)

    @tf.function
    def product_of(part: Any, labels: Any, vector: Any) -> Any:
        parts = [tf.reshape(v, w.shape) for v, w in zip(tf.split(vector, sizes), weights, strict=True)]
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                value = loss(part, labels)
            first = inner.gradient(value, weights)
            along = tf.add_n([tf.reduce_sum(g * v) for g, v in zip(first, parts, strict=True)])
        return tf.concat([tf.reshape(h, [-1]) for h in outer.gradient(along, weights)], 0)

    @tf.function
    def gradient_of(part: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(part, labels)
        return tape.gradient(value, weights)

    starts = range(0, len(y), BATCH)

    def times(vector: np.ndarray) -> np.ndarray:
        v = tf.constant(vector, tf.float32)
        return sum(product_of(x[i : i + BATCH], y[i : i + BATCH], v).numpy() for i in starts)

    def gradient() -> None:
        for i in starts:
            [g.numpy() for g in gradient_of(x[i : i + BATCH], y[i : i + BATCH])]

    def trace() -> float:
        rng = np.random.default_rng(0)
        signs = rng.choice([-1.0, 1.0], (16, sum(sizes)))
        return float(np.mean([s @ times(s) for s in signs]))

    def top() -> list[float]:
        from scipy.sparse.linalg import LinearOperator, eigsh

        operator = LinearOperator((sum(sizes), sum(sizes)), matvec=lambda v: times(v.ravel()), dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(sum(sizes))
        return np.sort(eigsh(operator, k=5, which="LA", tol=1e-4, v0=start, return_eigenvectors=False))[::-1].tolist()

    return {
        "gradient": gradient,
        "product": lambda: times(fixed_vector(sum(sizes)))[:5].tolist(),
        "trace": trace,
        "top 5": top,
    }


CONTENDERS: dict[str, Callable[[Path, str], dict[str, Task]]] = {
    "curvcli": curvcli,
    "curvlinops": curvlinops,
    "curvlinops compiled": lambda folder, dtype: curvlinops(folder, dtype, compiled=True),
    "pyhessian": pyhessian,
    "GradientTape": gradient_tape,
}


def held(field: str) -> int:
    """Bytes of this process, as Linux has them: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


def measured(task: Task) -> dict[str, Any]:
    """One task, with what it took; what a GPU still has to do when a task returns belongs to it."""
    gc.collect()
    gpu = DEVICE != "cpu"
    if gpu:
        torch.cuda.synchronize(DEVICE)
        torch.cuda.reset_peak_memory_stats(DEVICE)
    else:
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    before = torch.cuda.memory_allocated(DEVICE) if gpu else held("VmRSS")
    start, used = time.perf_counter(), time.process_time()
    value = task()
    if gpu:
        torch.cuda.synchronize(DEVICE)
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    peak = torch.cuda.max_memory_allocated(DEVICE) if gpu else held("VmHWM")
    return {"seconds": seconds, "cpu": cpu, "memory": peak - before, "result": value}


def main() -> None:
    """Serve tasks until the input ends."""
    name, folder, dtype, threads = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
    answers, sys.stdout = sys.stdout, sys.stderr  # some contenders print
    try:
        tasks = CONTENDERS[name](folder, dtype)
        answers.write(json.dumps({"tasks": list(tasks)}) + "\n")
    except Exception as error:
        answers.write(json.dumps({"error": f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"}) + "\n")
        return
    answers.flush()
    for line in sys.stdin:
        try:
            answer = measured(tasks[line.strip()])
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
