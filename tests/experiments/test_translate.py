"""The program that translates files: its flags, its table, its refusals."""

import json

import numpy as np
import pyarrow.parquet
import pytest

from experiments import translate
from helix_jax.alignment import AffineMap, save_map
from helix_jax.maps_numpy import read_map
from helix_jax.reports import load_blocks
from helix_jax.runs.program import run_program
from tests.experiments.told import require_answered


def run(*words):
    argv = ["translate", *map(str, words)]
    return run_program(translate.TranslateConfig, translate.run, argv)


def refused(capsys, *words):
    assert run(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The work directory of --tiny, whose map and file are used again."""
    out = tmp_path_factory.mktemp("made") / "out"
    assert run("--tiny", f"--out={out}") == 0
    return out


def test_tiny_translates_what_it_made_up(made):
    table = pyarrow.parquet.read_table(made / "rows")
    found = read_map(made / "made-up" / "map")
    source = pyarrow.parquet.read_table(made / "made-up" / "vectors.parquet")
    x = np.array(source["embedding"].to_pylist(), np.float32)
    y = found.map(x)
    np.testing.assert_allclose(
        np.array(table["embedding"].to_pylist()), y, rtol=1e-4, atol=1e-4
    )
    assert table["id"].to_pylist() == source["id"].to_pylist()
    predicted, least = found.confidence("cosine", x, y)
    summary = json.loads((made / "summary.json").read_text())
    assert summary["rows"] == 3000
    assert summary["mean_cosine"] == pytest.approx(predicted.mean(), rel=1e-4)
    assert summary["mean_cosine_at_least"] == pytest.approx(least.mean(), rel=1e-4)
    outside = found.confidence.judge("cosine", x, y)[2]
    assert summary["outside"] == pytest.approx(outside.mean(), abs=1e-3)
    assert 0 < outside.mean() < 0.1
    means = (summary[f"mean_cosine{bound}"] for bound in ("", "_at_least"))
    shares = f"{100 * summary['outside']:.1f}%"
    require_answered(made, "3,000", "16", *(f"{mean:.3f}" for mean in means), shares)
    (shown,) = load_blocks(made)
    assert "WARNING" not in shown.note
    assert shown.rows[0][:4] == [3000, 3, 24, 16]
    assert "nothing is promised for other texts" in shown.note


def test_the_flag_may_be_called_in_and_other_inputs_are_refused(made, tmp_path, capsys):
    map, vectors = made / "made-up" / "map", made / "made-up" / "vectors.parquet"
    words = [f"--map={map}", "--confidence=none"]
    assert run(*words, f"--in={vectors}", f"--out={tmp_path / 'w'}") == 0
    table = pyarrow.parquet.read_table(tmp_path / "w" / "rows")
    assert table.column_names == ["id", "embedding"]
    assert json.loads((tmp_path / "w" / "summary.json").read_text()) == {
        "rows": 3000,
        "parts": 1,
        "width": 16,
    }
    require_answered(tmp_path / "w", "3,000", "16")
    (tmp_path / "w" / "DONE").unlink()  # as if it had been killed before its end
    copy = tmp_path / "w2.parquet"
    pyarrow.parquet.write_table(table.slice(0, 9), copy)
    assert run(*words, f"--in={vectors}", f"--out={tmp_path / 'w'}") == 0
    (tmp_path / "w" / "DONE").unlink()
    other = save_map(
        tmp_path / "other",
        AffineMap(np.ones((24, 16)), np.ones(16)),
        source={},
        target={},
        penalty=None,
        split="fit",
    )
    record = tmp_path / "w" / "config.json"
    record.write_text(record.read_text().replace(str(map), str(other)))
    capsys.readouterr()
    said = refused(
        capsys,
        f"--map={other}",
        "--confidence=none",
        f"--in={vectors}",
        f"--out={tmp_path / 'w'}",
    )
    assert "do not agree" in said
    assert "Use another --out." in said


def test_rows_of_another_kind_are_told(made, tmp_path):
    path = tmp_path / "far.npy"
    np.save(path, 9 * np.random.default_rng(0).normal(size=(50, 24)))
    map = made / "made-up" / "map"
    assert run(f"--map={map}", f"--in={path}", f"--out={tmp_path / 'w'}") == 0
    assert json.loads((tmp_path / "w" / "summary.json").read_text())["outside"] == 1
    (shown,) = load_blocks(tmp_path / "w")
    assert "WARNING: 100% of these rows are, so the bound does not hold" in shown.note


def test_wrong_input_is_one_line_and_nothing_is_written(made, tmp_path, capsys):
    map, vectors = made / "made-up" / "map", made / "made-up" / "vectors.parquet"
    bare = save_map(
        tmp_path / "bare",
        AffineMap(np.ones((24, 16)), np.ones(16)),
        source={},
        target={},
        penalty=None,
        split="fit",
    )
    np.save(tmp_path / "narrow.npy", np.ones((4, 16), np.float32))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    given = f"--map={map}", f"--in={vectors}"
    place = f"--out={tmp_path / 'w'}"
    for words, said in [
        ((f"--map={bare}", given[1], place), "without a confidence for its rows"),
        ((f"--map={tmp_path}/none", given[1], place), "is not a folder of a"),
        (("--map=hub:alone", given[1], place), "is no name of a map on the hub"),
        ((given[0], f"--in={tmp_path}/narrow.npy", place), "these are of the width"),
        ((given[0], f"--in={tmp_path}/no.npy", place), "no.npy"),
        ((*given, place, "--coverage=1"), "cannot be had from"),
        ((*given, place, "--revision=v1"), "revision='v1' is for maps of the hub"),
        ((given[0], "--tiny", place), "give both, or neither"),
        (
            (*given, f"--out={tmp_path}/taken"),
            f"--out={tmp_path}/taken holds mine.txt and no",
        ),
        ((*given, f"--out={tmp_path}/file"), "--out="),
        ((given[0], place), "--vectors ("),
    ]:
        assert said in refused(capsys, *words), words
    assert not (tmp_path / "w").exists()
