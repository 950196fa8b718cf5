"""Maps pushed to a hub on loopback and loaded from it, with their cards."""

import json
import re

import numpy as np
import pytest
from huggingface_hub import ModelCard

from helix_jax.alignment import AffineMap, MapCard, push_map, save_map
from helix_jax.alignment.map_cards import map_card
from helix_jax.errors import ArtefactError
from helix_jax.maps_numpy import read_map
from helix_jax.stats import Interval

from ..hub_server import Repository, load_in_process, serve
from ..hub_uploads import TOKEN

SIDES = {
    "source": {
        "model": "lab/source-model",
        "revision": "c" * 40,
        "layers": [12],
        "pooling": "mean",
        "modules": ["normalize"],
    },
    "target": {"model": "target|model", "layers": [6], "pooling": "cls"},
}
CARD = MapCard(
    "lab/texts",
    {"fit": 8000, "select": 1000, "test": 1000},
    {"test/r2": Interval(0.61, 0.59, 0.63), "similarity/linear_cka": 0.7},
    {"source": "apache-2.0"},
)
# Steps of one who pushes and of one who loads.
_WORK = """
import json, sys
import numpy as np
from helix_jax.alignment import apply_map, load_map, push_map
from helix_jax.errors import ArtefactError
from helix_jax.maps_numpy import read_map
for step, *given, settings in json.loads(sys.argv[1]):
    try:
        if step == "push":
            record = push_map(*given, **settings)
        else:
            x = np.eye(6, dtype=np.float32)
            found, made_of = load_map(*given, **settings)
            y = np.asarray(apply_map(found, x))
            assert np.abs(read_map(*given, **settings).map(x) - y).max() < 1e-6
            record = [y.tolist(), made_of]
    except ArtefactError as error:
        record = {"error": str(error)}
    print("RECORD", json.dumps(record))
"""


def a_map(seed):
    rng = np.random.default_rng(seed)
    return AffineMap(rng.normal(size=(6, 4)), rng.normal(size=4))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("maps")
    for seed in (0, 1):
        save_map(
            root / str(seed), a_map(seed), **SIDES, penalty=0.1, split="fit", card=CARD
        )
    return root


def test_the_card_says_what_is_known_and_what_is_not(folders):
    card = ModelCard.load(folders / "0" / "README.md")
    assert card.data.library_name == "helix_jax"
    assert card.data.license == "unknown"
    assert card.data.base_model == ["lab/source-model"]
    assert card.data.datasets == ["lab/texts"]
    lines = card.text.splitlines()
    assert "# source-model to target|model, width 6 to 4" in lines
    assert "| model | lab/source-model | target\\|model |" in lines
    assert f"| revision | {'c' * 40} |  |" in lines
    assert "| layer | 12 | 6 |" in lines
    assert "| modules after the pooling | normalize |  |" in lines
    assert "| licence | apache-2.0 | unknown |" in lines
    assert "| test/r2 | 0.61 | 0.59 | 0.63 |" in lines
    assert "| similarity/linear_cka | 0.7 |  |  |" in lines
    assert "Data: lab/texts; its licence: unknown." in lines
    assert "Rows: 8,000 fit, 1,000 select, 1,000 test." in lines
    assert "Relative ridge penalty: 0.1." in lines
    loading = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
    assert [len(code.splitlines()) for code in loading] == [3, 3]
    assert all("hub:OWNER/NAME" in code for code in loading)


def test_a_map_saved_without_a_card_says_that_nothing_is_known(tmp_path):
    save_map(tmp_path, a_map(0), source={}, target={}, penalty=None, split="fit")
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.base_model is None
    assert "# unknown to unknown, width 6 to 4" in card.text
    assert "Nothing was recorded when it was saved." in card.text
    assert "Not calibrated" in card.text
    assert "Why" not in card.text


def test_a_map_without_a_confidence_says_why_and_so_does_what_is_pushed(tmp_path):
    why = "a calibration on the select split needs 20 rows in each half"
    saved = {"source": {}, "target": {}, "penalty": None, "split": "fit"}
    save_map(tmp_path, a_map(0), **saved, confidence=why)
    found = read_map(tmp_path)
    assert found.confidence is None
    assert found.config["uncalibrated"] == why
    assert f"Why: {why}." in ModelCard.load(tmp_path / "README.md").text
    assert f"Why: {why}." in map_card(found.config, place="lab/map")


@pytest.mark.slow
def test_what_is_pushed_is_what_is_loaded(folders, tmp_path):
    held = {"lab/taken": Repository({"a" * 40: folders}, {"main": "a" * 40})}
    first, second = (str(folders / name) for name in "01")
    (tmp_path / "hub").mkdir()
    with serve(held, tmp_path / "hub") as (endpoint, requests):

        def work(*steps, **settings):
            home = tmp_path / settings.pop("home", "reader")
            return load_in_process(_WORK, endpoint, home, list(steps), **settings)

        pushed = work(
            ["push", first, "lab/map", {"message": "One"}],
            ["push", second, "hub:lab/map", {}],
            ["push", first, "lab/atlas/a-to-b", {}],
            ["push", second, "lab/atlas/b-to-a", {}],
            ["push", first, "lab/map", {"revision": "none"}],
            home="writer",
            token=TOKEN,
        )
        commits, refused = pushed[:4], pushed[4]
        assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit in commits)
        assert "'lab/map' has no revision 'none'" in refused["error"]
        assert any(line.startswith("PUT /lfs/") for line in requests)
        asked = [
            ["load", "hub:lab/map", {}],
            ["load", "hub:lab/map", {"revision": commits[0]}],
            ["load", "hub:lab/atlas/a-to-b", {}],
        ]
        newest, oldest, inside = work(*asked)
        for (y, made_of), seed in ((newest, 1), (oldest, 0), (inside, 0)):
            one = a_map(seed)
            wanted = one.kernel + one.bias
            np.testing.assert_allclose(y, wanted, atol=1e-6)
            assert made_of == {**SIDES, "penalty": 0.1, "split": "fit"}
        files = held["lab/atlas"].commits[commits[3]]
        assert {path.name for path in files.glob("*/*")} == {
            *("config.json", "arrays.safetensors", "README.md")
        }
        card = (files / "b-to-a" / "README.md").read_text()
        assert 'read_map("hub:lab/atlas/b-to-a")' in card
        refusals = work(
            ["push", first, "lab/other", {}],
            ["push", str(tmp_path), "lab/map", {}],
            ["push", first, "alone", {}],
            ["load", "hub:lab/none", {}],
            ["load", "hub:lab/taken", {}],
        )
    for record, said in zip(
        refusals,
        [
            "does not let you write to 'lab/other'; set HF_TOKEN to a token with write",
            "is not a folder of a",
            "'alone' is no name of a map on the hub; write OWNER/NAME",
            "'lab/none' (revision main) is neither a folder here nor on the hub",
            "is not a folder of a",
        ],
        strict=True,
    ):
        assert said in record["error"]
    offline = [["load", "hub:lab/map", {}], ["load", "hub:lab/never", {}]]
    again, never = load_in_process(
        _WORK, endpoint, tmp_path / "reader", offline, offline=True
    )
    assert again == newest
    assert "not in the local cache and the hub cannot" in never["error"]


def test_what_is_no_name_is_refused_before_anything_is_read(tmp_path):
    for name in ("", "a", "a/b/", "a b/c", "../a/b", "a/b/../c"):
        with pytest.raises(ArtefactError, match="is no name of a map on the hub"):
            push_map(tmp_path / "none", name)


def test_the_card_is_made_of_the_configuration_alone(folders):
    config = json.loads((folders / "0" / "config.json").read_text())
    assert config["card"]["numbers"]["test/r2"] == [0.61, 0.59, 0.63]
    assert config["card"]["rows"] == {"fit": 8000, "select": 1000, "test": 1000}
