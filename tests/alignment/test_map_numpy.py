"""Maps without JAX: the same numbers, from the same folders, old ones among them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from helix_jax.alignment import (
    AffineMap,
    LowRankMap,
    MlpMap,
    ResidualMap,
    ShiftMap,
    apply_map,
    load_map,
    save_map,
)
from helix_jax.alignment.map_files import as_numpy
from helix_jax.artefacts import save_artefact
from helix_jax.errors import ArtefactError
from helix_jax.maps_numpy import PARTS, read_map

DX, DY = 48, 40
MADE_OF = {"source": {"model": "a"}, "target": {"model": "b"}}
DOCS = Path(__file__).parents[2] / "docs" / "maps.md"


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


AFFINE = AffineMap(normal(0, DX, DY), normal(1, DY))
MLP = MlpMap(normal(2, DX, 8), normal(3, 8), normal(4, 8, DY), normal(5, DY))
MAPS = {
    "affine_map": AFFINE,
    "low_rank_map": LowRankMap(normal(6, DX, 3), normal(7, 3, DY), normal(8, DY)),
    "mlp_map": MLP,
    "residual_map": ResidualMap(AFFINE, MLP),
    "shift_map": ShiftMap(normal(10, DX)),
}


@pytest.mark.parametrize("kind", PARTS)
def test_every_kind_gives_what_apply_map_gives(kind, tmp_path):
    save_map(tmp_path / "m", MAPS[kind], **MADE_OF, penalty=0.1, split="fit")
    found = read_map(tmp_path / "m")
    x = normal(9, 2, 30, DX)
    wanted = np.asarray(apply_map(load_map(tmp_path / "m")[0], x))
    got = found.map(x)
    assert got.dtype == np.float32
    assert found.map.kind == kind
    assert found.map.widths == MAPS[kind].widths
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=2e-5)
    np.testing.assert_array_equal(as_numpy(MAPS[kind])(x), got)
    assert found.map(x.astype(np.float64)).dtype == np.float64
    assert found.map(x.astype(np.float16)).dtype == np.float32
    half = found.map.cast(np.float64)(x[0].astype(np.float64))
    np.testing.assert_allclose(half, wanted[0], atol=2e-4)


def test_a_map_of_half_precision_is_applied_in_single(tmp_path):
    half = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, "bfloat16"), AFFINE)
    save_map(tmp_path / "m", half, **MADE_OF, penalty=None, split="fit")
    x = normal(9, 5, DX)
    wanted = np.asarray(apply_map(half, x))
    np.testing.assert_allclose(read_map(tmp_path / "m").map(x), wanted, atol=1e-4)


def test_neither_reader_nor_package_imports_jax(tmp_path):
    save_map(tmp_path / "m", AFFINE, **MADE_OF, penalty=None, split="fit")
    code = f"""
import sys
import helix_jax
light = sorted(name for name in sys.modules if name.startswith("helix_jax."))
from helix_jax.maps_numpy import read_map
y = read_map({str(tmp_path / "m")!r}).map(__import__("numpy").ones((1, {DX})))
tops = {{name.partition(".")[0] for name in sys.modules if name[0] != "_"}}
print(light, sorted(tops - set(sys.stdlib_module_names)), y.shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"[] ['helix_jax', 'numpy', 'safetensors'] (1, {DY})"


def test_a_folder_from_before_cards_still_loads(tmp_path):
    made_of = {**MADE_OF, "penalty": 0.5, "split": "fit"}
    config = {"dx": DX, "dy": DY, "fingerprints": made_of}
    arrays = {"kernel": AFFINE.kernel, "bias": AFFINE.bias}
    save_artefact(tmp_path / "m", "affine_map", config, arrays)
    assert not (tmp_path / "m" / "README.md").exists()
    found, record = load_map(tmp_path / "m")
    np.testing.assert_array_equal(np.asarray(found.kernel), AFFINE.kernel)
    assert record == made_of
    assert read_map(tmp_path / "m").confidence is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: config.pop("dx"), r"is damaged: .* make a map \(KeyError"),
        (lambda config: config.update(dx=3), r"its arrays map \(48, 40\), its config"),
        (lambda config: config.pop("fingerprints"), "is damaged"),
        (lambda config: config.update(form={"kind": "mlp_map"}), "is damaged"),
    ],
)
def test_a_damaged_folder_is_refused_by_both_readers(change, said, tmp_path):
    save_map(tmp_path / "m", AFFINE, **MADE_OF, penalty=None, split="fit")
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    for read in (read_map, load_map):
        with pytest.raises(ArtefactError, match=said):
            read(tmp_path / "m")


def test_other_widths_and_revisions_of_folders_are_refused(tmp_path):
    save_map(tmp_path / "m", AFFINE, **MADE_OF, penalty=None, split="fit")
    with pytest.raises(ValueError, match=r"takes rows of width 48 \(to 40\), got sh"):
        read_map(tmp_path / "m").map(np.ones((3, DY)))
    with pytest.raises(ArtefactError, match="revision='main' is for maps of the hub"):
        load_map(tmp_path / "m", revision="main")
    for name in ("hub:alone", "hub:a/b/../c", "hub:a//b", "hub:"):
        with pytest.raises(ArtefactError, match="is no name of a map on the hub"):
            read_map(name)


def test_the_thirty_lines_of_the_document_read_every_kind(tmp_path):
    (code,) = re.findall(r"```python\n(import json\n.*?)```", DOCS.read_text(), re.S)
    assert len(code.splitlines()) <= 30
    names = {}
    exec(compile(code, str(DOCS), "exec"), names)
    x = normal(9, 6, DX)
    for kind, one in MAPS.items():
        save_map(tmp_path / kind, one, **MADE_OF, penalty=None, split="fit")
        got = names["translate"](tmp_path / kind, x)
        np.testing.assert_allclose(got, apply_map(one, x), rtol=1e-5, atol=2e-5)
