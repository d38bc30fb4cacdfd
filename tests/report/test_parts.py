"""Parts: a killed run goes on where it was, never with numbers of another run, and never two at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from curvcli.errors import ReportError
from curvcli.report.hdf5.digest import content_digest
from curvcli.report.hdf5.parts import Parts
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report

KEY = {"model": "ab", "seed": 0, "layers": ["conv0", "conv1"]}


def run(report: Path, seed: int = 0, survives: int = -1, **environment: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).with_name("interrupted_run.py")
    return subprocess.run(
        [sys.executable, str(script), str(report), str(seed), str(survives)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | environment,
    )


def part_files(report: Path) -> list[Path]:
    return sorted(report.with_name(f"{report.name}.parts").glob("*.h5"))


def test_a_killed_run_resumes_and_ends_in_the_same_bytes(tmp_path):
    fixed = {"SOURCE_DATE_EPOCH": "1700000000"}
    killed = run(tmp_path / "killed.h5", survives=2, **fixed)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed.h5").exists()
    resumed = run(tmp_path / "killed.h5", **fixed)
    assert (resumed.returncode, resumed.stdout.split()) == (0, ["3", "1"])
    straight = run(tmp_path / "straight.h5", **fixed)
    assert straight.stdout.split() == ["2", "0", "3", "1"]
    assert (tmp_path / "killed.h5").read_bytes() == (tmp_path / "straight.h5").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["killed.h5", "straight.h5"]


def test_without_a_fixed_clock_a_resumed_run_ends_in_the_same_content(tmp_path):
    run(tmp_path / "killed.h5", survives=3)
    run(tmp_path / "killed.h5")
    run(tmp_path / "straight.h5")
    assert content_digest(tmp_path / "killed.h5") == content_digest(tmp_path / "straight.h5")


def test_layers_are_in_model_order_however_they_finished(tmp_path):
    run(tmp_path / "r.h5")
    assert [row.index for row in read_report(tmp_path / "r.h5").layers] == [0, 1, 2, 3]


def test_an_old_report_stays_until_the_new_one_is_whole(tmp_path):
    run(tmp_path / "r.h5", seed=1)
    before = (tmp_path / "r.h5").read_bytes()
    run(tmp_path / "r.h5", seed=2, survives=3)
    assert (tmp_path / "r.h5").read_bytes() == before
    run(tmp_path / "r.h5", seed=2)
    assert read_report(tmp_path / "r.h5").provenance.seed == 2


def test_finished_layers_come_back_with_their_seconds(tmp_path, layers):
    with Parts(tmp_path / "r.h5", KEY) as parts:
        assert (parts.previous, dict(parts.finished())) == ("none", {})
        parts.save(layers[1])
        parts.save(layers[0])
    with Parts(tmp_path / "r.h5", dict(reversed(KEY.items()))) as parts:
        assert parts.previous == "same"
        finished = parts.finished()
        assert list(finished) == ["conv0", "conv1"]
        assert finished["conv1"].seconds == 2.5
        np.testing.assert_array_equal(finished["conv1"].parameters[0].diagonal, layers[1].parameters[0].diagonal)


def test_saving_returns_the_layer_in_numbers(tmp_path, layers):
    with Parts(tmp_path / "r.h5", KEY) as parts:
        row = parts.save(layers[0])
    whole = np.concatenate([p.diagonal.ravel() for p in layers[0].parameters])
    assert row.trace == pytest.approx(whole.sum(), rel=1e-14)


def test_a_layer_saved_again_replaces_the_first(tmp_path, make_layer):
    with Parts(tmp_path / "r.h5", KEY) as parts:
        parts.save(make_layer("a", status="failed", diagonal=None))
        parts.save(make_layer("a"))
        assert parts.finished()["a"].status == "done"
        assert len(part_files(tmp_path / "r.h5")) == 1


def test_merging_completely_leaves_the_report_alone(tmp_path, layers, provenance):
    with Parts(tmp_path / "r.h5", KEY) as parts:
        for layer in layers:
            parts.save(layer)
        parts.merge(provenance)
    assert [file.name for file in tmp_path.iterdir()] == ["r.h5"]
    assert read_report(tmp_path / "r.h5").status == "complete"


def test_merged_parts_equal_a_report_written_in_one_go(tmp_path, layers, provenance, fixed_clock):
    with Parts(tmp_path / "merged.h5", KEY) as parts:
        for layer in layers:
            parts.save(layer)
        parts.merge(provenance)
    write_report(tmp_path / "direct.h5", layers, provenance)
    assert (tmp_path / "merged.h5").read_bytes() == (tmp_path / "direct.h5").read_bytes()


def test_a_partial_merge_keeps_the_parts_for_the_next_run(tmp_path, layers, provenance):
    with Parts(tmp_path / "r.h5", KEY) as parts:
        parts.save(layers[0])
        parts.merge(provenance, status="partial")
    assert read_report(tmp_path / "r.h5").status == "partial"
    with Parts(tmp_path / "r.h5", KEY) as parts:
        assert list(parts.finished()) == ["conv0"]
        parts.save(layers[1])
        parts.merge(provenance)
    report = read_report(tmp_path / "r.h5")
    assert (report.status, [row.name for row in report.layers]) == ("complete", ["conv0", "conv1"])


def test_another_key_discards_the_parts_and_says_what_changed(tmp_path, layers):
    with Parts(tmp_path / "r.h5", KEY) as parts:
        parts.save(layers[0])
    with Parts(tmp_path / "r.h5", KEY | {"seed": 1, "probes": 10}) as parts:
        assert (parts.previous, parts.discarded, parts.changed) == ("other", 1, ("probes", "seed"))
        assert len(parts.finished()) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty"])
def test_a_damaged_part_is_computed_again(tmp_path, layers, damage):
    with Parts(tmp_path / "r.h5", KEY) as parts:
        parts.save(layers[0])
        (file,) = part_files(tmp_path / "r.h5")
        parts.save(layers[1])
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle] ^= 1
    file.write_bytes({"truncated": data[:middle], "one bit": data, "empty": b""}[damage])
    with Parts(tmp_path / "r.h5", KEY) as parts:
        assert (list(parts.finished()), parts.discarded) == (["conv1"], 1)
        assert not file.exists()


def test_parts_without_a_readable_key_are_discarded(tmp_path, layers):
    with Parts(tmp_path / "r.h5", KEY) as parts:
        parts.save(layers[0])
        (parts.directory / "run.json").write_text("{")
    with Parts(tmp_path / "r.h5", KEY) as parts:
        assert (parts.previous, parts.discarded, len(parts.finished())) == ("other", 1, 0)


def test_temporary_files_of_killed_writers_are_removed_and_others_are_not(tmp_path, layers):
    report = tmp_path / "r.h5"
    mine, foreign = tmp_path / "r.h5.123-0123abcd.tmp", tmp_path / "r.h5.notes.tmp"
    mine.touch()
    foreign.touch()
    with Parts(report, KEY):
        pass
    assert list(tmp_path.iterdir()) == [foreign]


def test_a_run_that_finished_no_layer_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), Parts(tmp_path / "r.h5", KEY):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_second_live_writer_is_refused_with_the_first_ones_process(tmp_path):
    holder = (
        "import sys; from pathlib import Path; from curvcli.report.hdf5.parts import Parts\n"
        "with Parts(Path(sys.argv[1]), {}): print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(tmp_path / "r.h5")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(ReportError, match=f"process {other.pid} on .* is writing this report"):
            Parts(tmp_path / "r.h5", {}).__enter__()
        other.stdin.close()


def test_the_lock_of_a_dead_process_is_free(tmp_path):
    assert run(tmp_path / "r.h5", survives=1).returncode == -signal.SIGKILL
    assert (tmp_path / "r.h5.parts" / "lock").read_text().startswith("process ")
    with Parts(tmp_path / "r.h5", {"seed": 0}) as parts:
        assert list(parts.finished()) == ["net/fc2"]


def test_the_lock_is_free_after_an_error(tmp_path, layers):
    with pytest.raises(RuntimeError), Parts(tmp_path / "r.h5", KEY) as parts:
        parts.save(layers[0])
        raise RuntimeError
    with Parts(tmp_path / "r.h5", KEY) as parts:
        assert list(parts.finished()) == ["conv0"]


def test_a_missing_directory_is_refused_before_any_work(tmp_path):
    with pytest.raises(ReportError, match="the directory does not exist"):
        Parts(tmp_path / "no" / "r.h5", KEY).__enter__()


def test_a_directory_without_write_permission_is_refused_before_any_work():
    # Not tmp_path: root has to become somebody else, and nobody else may enter that.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            with pytest.raises(ReportError, match="no permission to write there"):
                Parts(directory / "r.h5", KEY).__enter__()
        finally:
            if root:
                os.seteuid(0)
            directory.chmod(0o755)


def test_a_directory_as_output_is_refused(tmp_path):
    with pytest.raises(ReportError, match="is a directory"):
        Parts(tmp_path, KEY).__enter__()


def test_a_file_that_is_no_report_is_not_replaced(tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["weights"] = np.ones(3)
    with pytest.raises(ReportError, match="refusing to overwrite it"):
        Parts(tmp_path / "weights.h5", KEY).__enter__()


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path, layers, provenance):
    (tmp_path / "store").mkdir()
    (tmp_path / "r.h5").symlink_to(tmp_path / "store" / "real.h5")
    with Parts(tmp_path / "r.h5", KEY) as parts:
        parts.save(layers[0])
        parts.merge(provenance)
    assert (tmp_path / "r.h5").is_symlink()
    assert read_report(tmp_path / "store" / "real.h5").status == "complete"


def test_a_key_that_json_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        Parts(tmp_path / "r.h5", {"rtol": float("nan")})
