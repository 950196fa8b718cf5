"""Maps of all pairs of planted embeddings and of embedded models, with their cards."""

import inspect
import json

import numpy as np
import pytest
from huggingface_hub import ModelCard

from experiments import atlas
from helix_jax.errors import RunError
from helix_jax.maps_numpy import read_map
from helix_jax.reports import Matrix, load_blocks
from helix_jax.runs import Run
from helix_jax.text.hashing import SPLITS, split_of
from tests.twins import best_probe, best_ridge, r2

from ..hub_server import load_in_process, serve
from ..hub_uploads import TOKEN

pytestmark = pytest.mark.slow  # its fixtures take seconds

_PUSH = """
import json, sys
import numpy as np
from helix_jax.alignment import load_map, push_maps
for folder, name, inside in json.loads(sys.argv[1]):
    commit = push_maps(folder, name)
    found, _ = load_map(f"hub:{name}/{inside}", revision=commit)
    print("RECORD", json.dumps(np.asarray(found.kernel, float).tolist()))
"""


def config_of(planted, workdir, **flags):
    return atlas.AtlasConfig(
        workdir=str(workdir),
        models=tuple(f"embeddings:{planted / name}.npz" for name in "ab"),
        data=str(planted / "texts.jsonl"),
        id_column="id",
        label_column="label",
        resamples=50,
        **flags,
    )


@pytest.fixture(scope="module")
def made(planted, tmp_path_factory):
    """A work directory and its summary."""
    folder = tmp_path_factory.mktemp("atlas")
    return folder, atlas.run(config_of(planted, folder))


def names_of(summary):
    return sorted({key.partition("/")[0] for key in summary if "--to--" in key})


def test_maps_and_tasks_equal_scikit_learn(made, planted):
    folder, summary = made
    rows, labels = {}, np.load(planted / "labels.npy")
    for name in "ab":
        with np.load(planted / f"{name}.npz") as file:
            splits = np.array([split_of(text_id) for text_id in file["ids"]])
            states = file["embeddings"].astype(np.float32).astype(float)
            rows[name] = [states[splits == split] for split in SPLITS]
    labels = [labels[splits == split] for split in SPLITS]
    there, back = names_of(summary)
    for pair, (source, target) in ((there, "ab"), (back, "ba")):
        (x, x_select, x_test), (y, y_select, y_test) = rows[source], rows[target]
        ridge = best_ridge(x, y, x_select, y_select)
        probe = best_probe(y, labels[0], y_select, labels[1])
        mapped = ridge.predict(x_test)
        for name, number in {
            "test/r2": r2(y_test, mapped),
            "test/target_accuracy": probe.score(y_test, labels[2]),
            "test/mapped_accuracy": probe.score(mapped, labels[2]),
        }.items():
            assert summary[f"{pair}/{name}"] == pytest.approx(number, rel=1e-4), name
        found = read_map(folder / "maps" / pair)
        np.testing.assert_allclose(found.map(x_test), mapped, atol=1e-3)
        assert summary[f"{pair}/test/shuffled_r2"] < 0.1 < summary[f"{pair}/test/r2"]
        assert found.config["card"]["numbers"]["test/r2"][0] == pytest.approx(
            r2(y_test, mapped), rel=1e-4
        )


def test_every_map_has_a_card_and_all_have_one(made):
    folder, summary = made
    card = ModelCard.load(folder / "maps" / "README.md")
    assert card.data.license == "unknown"
    for name in names_of(summary):
        own = ModelCard.load(folder / "maps" / name / "README.md")
        assert "test/mapped_accuracy" in own.text
        assert "Data: texts.jsonl; its licence: unknown." in own.text
        assert f"[{name}]({name}/README.md)" in card.text
        value = summary[f"{name}/test/r2"]
        assert f"{value:.3f} [" in card.text


def test_the_page_has_a_matrix_for_each_number_and_its_control(made):
    folder, summary = made
    table, *matrices = load_blocks(folder)
    assert len(table.rows) == 2
    assert {type(one) for one in matrices} == {Matrix}
    assert len(matrices) == len(atlas.MATRICES)
    there, back = names_of(summary)
    values = matrices[0].values
    assert values[0][1] == pytest.approx(summary[f"{there}/test/r2"])
    assert values[1][0] == pytest.approx(summary[f"{back}/test/r2"])
    assert values[0][0] is None or np.isnan(values[0][0])


def test_pairs_that_are_there_are_not_fitted_again(made, planted, tmp_path):
    _, summary = made
    name, _ = names_of(summary)
    report = atlas.compute(config_of(planted, tmp_path), Run(tmp_path))
    path = tmp_path / "pairs" / f"{name}.json"
    numbers = json.loads(path.read_text())
    path.write_text(json.dumps(numbers | {"test/r2": 0.125}))
    again = atlas.compute(config_of(planted, tmp_path), Run(tmp_path))
    assert again.numbers[f"{name}/test/r2"] == 0.125
    path.unlink()  # as a kill before the end of this pair leaves it
    fitted = atlas.compute(config_of(planted, tmp_path), Run(tmp_path))
    assert fitted.numbers == report.numbers
    assert fitted.numbers[f"{name}/test/r2"] == summary[f"{name}/test/r2"]


def test_the_folder_is_pushed_whole(made, tmp_path):
    folder, summary = made
    name, other = names_of(summary)
    held = {}
    (tmp_path / "hub").mkdir()
    with serve(held, tmp_path / "hub") as (endpoint, _):
        asked = [[str(folder / "maps"), "lab/atlas", name]]
        home = tmp_path / "home"
        (kernel,) = load_in_process(_PUSH, endpoint, home, asked, token=TOKEN)
    wanted = read_map(folder / "maps" / name).map.parts["kernel"]
    np.testing.assert_allclose(kernel, wanted, rtol=1e-6)
    repository = held["lab/atlas"]
    assert len(repository.commits) == 2  # the empty one, and one with everything
    files = repository.commits[repository.branches["main"]]
    assert f"hub:lab/atlas/{name}" in (files / "README.md").read_text()
    assert f"hub:lab/atlas/{other}" in (files / other / "README.md").read_text()


def test_layers_of_models_are_nodes_and_one_model_is_refused(tmp_path):
    data = tmp_path / "texts.jsonl"
    told = (inspect.getdoc(getattr(np, name)) for name in dir(np))
    lines = sorted({one.partition("\n")[0] for one in told if one})
    records = enumerate(lines[:200])
    data.write_text(
        "".join(json.dumps({"id": f"n{i}", "text": one}) + "\n" for i, one in records)
    )
    flags = {"workdir": str(tmp_path / "w"), "data": str(data)}
    config = atlas.AtlasConfig(
        models=("pebble-llama", "pebble-neox"),
        layers=(-1, 1),
        max_tokens=16,
        resamples=20,
        **flags,
    )
    summary = atlas.run(config)
    assert summary["atlas/maps"] == 8
    stores = sorted(one.name for one in (tmp_path / "w" / "stores").iterdir())
    assert len(stores) == 6  # a model and a split each, both layers in it
    name = "pebble-llama@1--to--pebble-neox@4"
    assert f"{name}/test/r2" in summary
    assert f"{name}/test/mapped_accuracy" not in summary  # texts without classes
    found = read_map(tmp_path / "w" / "maps" / name).config["fingerprints"]
    assert found["source"]["layers"] == [1]
    assert found["target"]["layers"] == [4]
    text = (tmp_path / "w" / "maps" / name / "README.md").read_text()
    assert "| layer | 1 | 4 |" in text
    assert "| licence | apache-2.0 | apache-2.0 |" in text
    for models in (("pebble-llama",), ("pebble-llama", "pebble-llama")):
        alone = atlas.AtlasConfig(models=models, **flags)
        with pytest.raises(RunError, match="--models"):
            atlas.run(alone)
