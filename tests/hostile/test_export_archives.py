"""torch.export archives that somebody made to run code, to read foreign memory, or to pass for something else."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from curvcli.cli.main import run
from curvcli.errors import ModelError
from curvcli.models.open import format_of, open_model

from .exports import Members, edited, make_export, members_of, written

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
TOUCHED = "it-ran"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {TOUCHED}",)


BOMB = pickle.dumps(Bomb())


def saved_bomb() -> bytes:
    """As ``torch.save`` writes one."""
    stream = io.BytesIO()
    torch.save(Bomb(), stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Members:
    """The members of a sound archive."""
    return members_of(make_export(tmp_path_factory.mktemp("sound") / "m.pt2"))


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test here fails if what a file brings has run."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / TOUCHED).exists()


def test_the_pickles_of_these_tests_run_where_they_are_loaded(tmp_path: Path) -> None:
    """Or none of the other tests could fail."""
    for data in (BOMB, zipfile.ZipFile(io.BytesIO(saved_bomb())).read("archive/data.pkl")):
        pickle.loads(data)
        (tmp_path / TOUCHED).unlink()


def entry(record: Any) -> Any:
    """The first tensor that a config lists."""
    return next(iter(record["config"].values()))


def pickled(record: Any) -> None:
    entry(record)["use_pickle"] = True


def named(path_name: str) -> Callable[[Any], None]:
    def change(record: Any) -> None:
        entry(record).update(path_name=path_name, tensor_meta=None)

    return change


PICKLES: dict[str, Callable[[Members], Members]] = {
    "a weight": lambda m: edited(m, WEIGHTS, pickled) | {"data/weights/weight_0": saved_bomb()},
    "a constant": lambda m: edited(m, CONSTANTS, pickled) | {"data/constants/tensor_0": saved_bomb()},
    "weights of old": lambda m: m | {"data/weights/model.pt": saved_bomb()},
    "constants of old": lambda m: m | {"data/constants/model.pt": saved_bomb()},
    "a custom object": lambda m: (
        edited(m, CONSTANTS, named("custom_obj_0")) | {"data/constants/custom_obj_0": saved_bomb()}
    ),
    "an opaque object": lambda m: edited(m, CONSTANTS, named("opaque_obj_0")) | {"data/constants/opaque_obj_0": BOMB},
    "an opaque object among the weights": lambda m: edited(m, WEIGHTS, named("opaque_obj_0")),
    "a state dict of old": lambda m: {"serialized_state_dict.pt": saved_bomb()},
    "a module": lambda m: {"data.pkl": BOMB, "version": b"3"},
    "compiled code": lambda m: m | {"data/aotinductor/model/a.so": b"\x7fELF"},
    "anything else": lambda m: m | {"data/pickles/0": BOMB},
}


@pytest.mark.parametrize("place", PICKLES)
def test_a_pickle_is_refused_wherever_it_stands(place: str, sound: Members, tmp_path: Path) -> None:
    """Each place from which torch.export.load would unpickle, or might; one message, with what to do."""
    path = written(PICKLES[place](sound), tmp_path / "m.pt2")
    with pytest.raises(ModelError) as caught:
        open_model(path)
    assert 1 <= str(caught.value).count("\n") <= 1


@pytest.mark.parametrize("data", [BOMB, saved_bomb(), b""], ids=["pickle", "torch.save", "nothing"])
def test_sample_inputs_are_never_read(data: bytes, sound: Members, tmp_path: Path) -> None:
    """What is in them does not matter; the model opens."""
    path = written(sound | {"data/sample_inputs/model.pt": data, "extra/notes.pkl": data}, tmp_path / "m.pt2")
    assert [layer.name for layer in open_model(path).layers] == ["one", "two"]


CODE = f"__import__('os').system('touch {TOUCHED}')"


def strings(record: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the strings of a JSON tree are."""
    children = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in children:
        yield from [(*path, key)] if isinstance(value, str) else strings(value, (*path, key))


def test_no_string_of_the_description_is_evaluated(sound: Members, tmp_path: Path) -> None:
    """Each is replaced by code, one at a time: expressions, guards, names, targets, metadata."""
    record = json.loads(sound[MODEL])
    record["guards_code"].append("True")
    places = list(strings(record))
    assert len(places) > 100
    outcomes = set()
    for number, place in enumerate(places):
        holder = record
        for key in place[:-1]:
            holder = holder[key]
        kept, holder[place[-1]] = holder[place[-1]], (CODE, f"x; {CODE}", f"') or {CODE} #")[number % 3]
        path = written(sound | {MODEL: json.dumps(record).encode()}, tmp_path / "m.pt2")
        holder[place[-1]] = kept
        try:
            model = open_model(path)
            model.program({name: torch.zeros(2, 4) for name in model.program.inputs})  # type: ignore[attr-defined]
            outcomes.add("opened")
        except (ModelError, RuntimeError):
            outcomes.add("refused")
        assert not (tmp_path / TOUCHED).exists(), place
    assert outcomes == {"opened", "refused"}


@pytest.mark.parametrize(
    "text",
    [
        CODE,
        f"[{CODE}][0] == 1",
        f"L['x'].size()[{CODE}] == 1",
        f"L[{CODE}].size()[0] == 1",
        "L.__class__ == 1",
        "L['x'].__class__.size()[0] == 1",
        "9 ** 9 ** 9 ** 9 == 1",
        "(lambda: 1)() == 1",
        "1 == 1 == 1",
        "x := 1",
        "(" * 3000 + "1" + ")" * 3000,
        "-" * 3900 + "1",
        "",
        "import os",
    ],
)
def test_a_condition_is_arithmetic_or_refused(text: str, sound: Members, tmp_path: Path) -> None:
    """torch.export makes a function of them; here they are read as sums of sizes."""
    members = edited(sound, MODEL, lambda record: record.update(guards_code=[text]))
    with pytest.raises(ModelError, match="condition"):
        open_model(written(members, tmp_path / "m.pt2"))


def first_node(record: Any) -> Any:
    return record["graph_module"]["graph"]["nodes"][0]


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.save.default",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.set_.source_Storage",
        "torch.ops.aten.add.__class__",
        "torch.ops.aten.relu.__globals__",
        "torch.ops.aten.add.out",
        "torch.ops.mine.add.default",
        "torch.ops.higher_order.call_torchbind",
        "torch.ops.higher_order.triton_kernel_wrapper_mutation",
        "torch.load",
        "torch.hub.load",
        "torch._C._jit_pass_inline",
        "torch.ops.load_library",
        "_operator.attrgetter",
        "_operator.methodcaller",
        "math.__loader__",
        "#foreign:add",
        "os.system",
        "builtins.eval",
        "",
        "\x1b[31mred",
    ],
)
def test_only_listed_operators_are_looked_up(target: str, sound: Members, tmp_path: Path) -> None:
    """All else is refused by name before anything is called, with nothing in the message that can't be printed."""
    members = edited(sound, MODEL, lambda record: first_node(record).update(target=target))
    with pytest.raises(ModelError, match="does not run") as caught:
        open_model(written(members, tmp_path / "m.pt2"))
    assert str(caught.value).replace("\n", "").isprintable()


def meta(**changes: Any) -> Callable[[Any], None]:
    return lambda record: entry(record)["tensor_meta"].update(changes)


MISFITS: dict[str, Callable[[Members], Members]] = {
    "a larger tensor": lambda m: edited(m, WEIGHTS, meta(sizes=[{"as_int": 5}, {"as_int": 4000}])),
    "a longer step": lambda m: edited(m, WEIGHTS, meta(strides=[{"as_int": 4000}, {"as_int": 1}])),
    "behind its end": lambda m: edited(m, WEIGHTS, meta(storage_offset={"as_int": 1})),
    "before its start": lambda m: edited(m, WEIGHTS, meta(storage_offset={"as_int": -1})),
    "a step back": lambda m: edited(m, WEIGHTS, meta(strides=[{"as_int": -4}, {"as_int": 1}])),
    "fewer steps": lambda m: edited(m, WEIGHTS, meta(strides=[{"as_int": 4}])),
    "wider numbers": lambda m: edited(m, WEIGHTS, meta(dtype=8)),
    "unknown numbers": lambda m: edited(m, WEIGHTS, meta(dtype=99)),
    "a sparse tensor": lambda m: edited(m, WEIGHTS, meta(layout=1)),
    "a size that is computed": lambda m: edited(m, WEIGHTS, meta(sizes=[{"as_expr": {"expr_str": CODE}}])),
    "no bytes": lambda m: m | {"data/weights/weight_0": b""},
    "no member": lambda m: {k: v for k, v in m.items() if k != "data/weights/weight_0"},
    "another member": lambda m: edited(m, WEIGHTS, lambda r: entry(r).update(path_name="../../weight_0")),
    "a tensor from few bytes": lambda m: edited(
        m, WEIGHTS, meta(sizes=[{"as_int": 1 << 30}, {"as_int": 1 << 30}], strides=[{"as_int": 0}, {"as_int": 0}])
    ),
    "a name in colour": lambda m: edited(m, WEIGHTS, lambda r: r["config"].update({"\x1b[31m": entry(r)})),
    "the other byte order": lambda m: m | {"byteorder": b"big"},
    "a later schema": lambda m: edited(m, MODEL, lambda r: r["schema_version"].update(major=9)),
    "two models": lambda m: m | {"models/other.json": m[MODEL]},
    "no JSON": lambda m: m | {MODEL: b"{"},
    "deep JSON": lambda m: m | {MODEL: b"[" * 100_000 + b"]" * 100_000},
    "another JSON": lambda m: m | {MODEL: b"[]"},
    "a value from nowhere": lambda m: edited(
        m, MODEL, lambda r: first_node(r)["inputs"][0].update(arg={"as_tensor": {"name": "nowhere"}})
    ),
}


@pytest.mark.parametrize("what", MISFITS)
def test_what_does_not_fit_is_refused(what: str, sound: Members, tmp_path: Path) -> None:
    """Declared tensors are held against bytes, versions and names against what is known; two lines at most."""
    with pytest.raises(ModelError) as caught:
        open_model(written(MISFITS[what](sound), tmp_path / "m.pt2"))
    assert str(caught.value).count("\n") <= 1
    assert str(caught.value).replace("\n", "").isprintable()


def test_damaged_bytes_are_found_by_their_checksum(tmp_path: Path) -> None:
    """torch.export.load does not look."""
    path = make_export(tmp_path / "m.pt2")
    with zipfile.ZipFile(path) as archive:
        one = next(info for info in archive.infolist() if info.filename.endswith("weight_0"))
        whole = archive.read(one)
    data = bytearray(path.read_bytes())
    data[data.index(whole)] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="checksum"):
        open_model(path)


def test_a_size_that_grows_for_ever_is_stopped(sound: Members, tmp_path: Path) -> None:
    """Sizes are computed from sizes: a tower of powers would fill memory."""

    def change(record: Any) -> None:
        graph = record["graph_module"]["graph"]
        value: Any = {"as_int": 9}
        powers = []
        for i in range(6):
            result = {"as_sym_int": {"as_name": f"p{i}"}}
            arguments = [{"name": name, "arg": one, "kind": 1} for name, one in (("a", {"as_int": 9}), ("b", value))]
            powers.append({"target": "_operator.pow", "inputs": arguments, "outputs": [result], "metadata": {}})
            value = result
        graph["nodes"][:0] = powers

    model = open_model(written(edited(sound, MODEL, change), tmp_path / "m.pt2"))
    with pytest.raises(RuntimeError, match="no tensor can have"):
        model.program({"x": torch.zeros(2, 4)})  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("m.pte", b"\x1c\x00\x00\x00ET12" + bytes(40), "ExecuTorch"),
        ("m.pt2", b"\x1c\x00\x00\x00ET12" + bytes(40), "ExecuTorch"),
        ("m.pt2", b"PK\x03\x04" + bytes(100), "truncated"),
        ("m.pt2", b"", "truncated"),
    ],
)
def test_other_files_are_told_by_what_they_are(
    name: str, data: bytes, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3, and the line that exports the model."""
    (tmp_path / name).write_bytes(data)
    assert run(["layers", name]) == 3
    said = capsys.readouterr().err
    assert told in said
    assert "torch.export.save" in said


def test_the_content_says_the_format_and_not_the_name(sound: Members, tmp_path: Path) -> None:
    """An archive without its suffix, and TorchScript that has the other's."""
    assert format_of(written(sound, tmp_path / "export.pt")).module == "exported"
    assert format_of(written(sound, tmp_path / "model")).module == "exported"
    script = tmp_path / "script.pt2"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    assert format_of(script).module == "torchscript"
    assert [layer.name for layer in open_model(script).layers] == ["weight", "bias"]
