"""Two test processes side by side: each, and every command it starts, keeps to one thread."""

from __future__ import annotations

import gc
import os

import pytest

# Traced graphs are hundreds of thousands of objects that live as long as the process: looking through them for garbage
# every few thousand new ones is an eighth of the time.
gc.set_threshold(200_000, 20, 50)
if "PYTEST_XDIST_WORKER" in os.environ:
    # Threads of two processes on the same cores wait for each other by spinning, which is slower than none.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cuda", help="where tests of GPUs compute: cuda, cuda:1 …")


@pytest.fixture
def gpu(request: pytest.FixtureRequest) -> str:
    """The GPU to compute on; without one, the test is skipped."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU here")
    return str(request.config.getoption("--device"))
