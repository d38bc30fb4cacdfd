"""Archives whose checksums fit and whose contents do not: refused in a line, before torch reads beyond their bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from curvcli.cli.main import run

from .archives import Small, edited, statement


def refusal(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What ``layers`` says of a file it can't open."""
    assert run(["layers", str(path)]) == 3
    said = capsys.readouterr().err
    assert "bug" not in said
    assert len(said.splitlines()) <= 2
    return said


def test_data_that_is_shorter_than_its_tensor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """torch would read on into its own memory."""
    said = refusal(edited(tmp_path / "m.pt", "data/0", lambda data: data[:3]), capsys)
    assert "is declared with 8 bytes and has 3" in said or "is declared with 4 bytes and has 3" in said


def test_a_tensor_that_is_larger_than_its_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shape of 1×200 over two numbers."""
    path = edited(tmp_path / "m.pt", "data.pkl", lambda data: data.replace(b"(K\x01K\x02t", b"(K\x01K\xc8t", 1))
    assert "a tensor of shape 1×200 is declared over data of 2 numbers" in refusal(path, capsys)


def test_a_parameter_of_any_size_over_one_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Strides of zero cost the file nothing."""

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1).expand(1 << 20, 1 << 20))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.w[0, 0]

    torch.jit.save(torch.jit.script(Wide().eval()), tmp_path / "m.pt")
    assert "what its parameters declare: takes 4.0 TiB" in refusal(tmp_path / "m.pt", capsys)


@pytest.mark.parametrize(
    "text",
    [
        f"y = {'(' * 20000}x{')' * 20000}",
        f"y = {'[' * 20000}x{']' * 20000}",
        f"y = {'-' * 20000}1",
        f"y = {'1+' * 20000}1",
        f"y = {'not ' * 20000}True",
        "\n".join(f"{'  ' * (depth + 1)}if True:" for depth in range(1, 2000)).lstrip() + f"\n{'  ' * 2001}y = 1",
    ],
    ids=["brackets", "lists", "signs", "sums", "negations", "blocks"],
)
def test_code_that_no_stack_holds(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """torch's reader calls itself, and would end the process."""
    path = edited(tmp_path / "m.pt", ".py", statement(text))
    assert "nested deeper than torch can read" in refusal(path, capsys)


def test_a_module_without_forward(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Named in the message."""

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        @torch.jit.export
        def infer(self, x: Tensor) -> Tensor:
            return self.layer(x)

    torch.jit.save(torch.jit.script(Other().eval()), tmp_path / "m.pt")
    assert "no forward()" in refusal(tmp_path / "m.pt", capsys)


@pytest.mark.parametrize("ending", [".py", "data.pkl", "constants.pkl"])
@pytest.mark.parametrize("damage", ["cut", "noise", "gone"])
def test_members_that_make_no_sense(
    ending: str, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of one, other bytes, nothing at all."""
    edits: dict[str, Callable[[bytes], bytes]] = {
        "cut": lambda data: data[: len(data) // 2],
        "noise": lambda data: bytes(reversed(data)) + b"\xff\x00",
        "gone": lambda data: b"",
    }
    refusal(edited(tmp_path / "m.pt", ending, edits[damage]), capsys)


def test_an_honest_archive_is_opened(tmp_path: Path) -> None:
    """The control of all of these."""
    torch.jit.save(torch.jit.script(Small().eval()), tmp_path / "m.pt")
    assert run(["layers", str(tmp_path / "m.pt")]) == 0
