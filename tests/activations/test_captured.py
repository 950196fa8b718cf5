"""States captured elsewhere against those that `extract` takes of the same model.

Tolerance: 1e-5 of states of order one, as both are sums in float32. Observed: none.
"""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from helix_jax.activations import load_captured, save_captured
from helix_jax.errors import StoreError
from helix_jax.models import load_model, load_tokenizer
from helix_jax.types import Text

from .made import extracted

TEXTS = [
    Text("d/0", "Return the sum of two numbers.", 1),
    Text("d/1#a", "Open a file.", None),
    Text("d/1#b", "A class that holds a connection.", 0),
]
LAYERS = (2, 1, 4)  # in the order that a server was asked for
MODEL = "pebble-llama"


@pytest.fixture(scope="module")
def pebble():
    return load_model(MODEL), load_tokenizer(MODEL)


@pytest.fixture(scope="module")
def states(pebble, tmp_path_factory):
    """(id, token_ids, hidden_states [T, 3, D] before the final norm) of each text."""
    store = extracted(
        *pebble,
        TEXTS,
        tmp_path_factory.mktemp("captured") / "s",
        layers=LAYERS,
        final_norm=False,
        pooling="token",
    )
    hidden = np.stack([store.read(layer) for layer in LAYERS], axis=1)
    return [
        (text.id, np.array(pebble[1](text.text)["input_ids"]), own)
        for text, own in zip(TEXTS, np.split(hidden, store.row_starts[1:-1]))
    ]


@pytest.fixture
def captured(tmp_path, states):
    """The list of what a server would have written."""
    return save_captured(tmp_path / "c.json", states, layers=LAYERS, model=MODEL)


def rewrite(path, **changes):
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(record))
    return path


@pytest.mark.parametrize(
    ("layer", "final_norm", "pooling"),
    [(4, True, "mean"), (1, False, "last"), (2, True, "weighted_mean")],
)
def test_a_store_equals_an_extracted_one(
    tmp_path, pebble, captured, layer, final_norm, pooling
):
    options = {"pooling": pooling, "final_norm": final_norm}
    store = load_captured(captured, layer=layer, **options)
    own = extracted(*pebble, TEXTS, tmp_path / "s", layers=(layer,), **options)
    np.testing.assert_allclose(store.read(), own.read(), atol=1e-5)
    assert store.ids == own.ids
    assert store.layers == own.layers == (layer,)
    assert store.counts["tokens"] == own.counts["tokens"]


def test_the_last_captured_layer_stands_for_minus_one(captured):
    store = load_captured(captured)
    assert store.layers == (4,)
    assert store.fingerprint["final_norm"] is True
    assert load_captured(captured, layer=2).fingerprint != store.fingerprint


def test_bfloat16_as_servers_write_it(tmp_path, states):
    half = [(i, tokens, own.astype(ml_dtypes.bfloat16)) for i, tokens, own in states]
    path = save_captured(tmp_path / "c.json", half, layers=LAYERS)
    rows = load_captured(path, layer=1, pooling="cls", final_norm=False).read()
    np.testing.assert_array_equal(rows, [own[0, 1] for _, _, own in half])


def test_labels_and_files_elsewhere(tmp_path, captured):
    record = json.loads(captured.read_text())
    texts = record["texts"]
    texts[0] |= {"label": 3, "file": str(tmp_path / texts[0]["file"])}
    store = load_captured(rewrite(captured, texts=texts))
    assert store.labels.tolist() == [3, -1, -1]


def damage(path, **arrays):
    file = path.parent / "c-000001.safetensors"
    tokens = np.arange(4)
    save_file({"hidden_states": np.ones((4, 3, 128), "f"), "token_ids": tokens}, file)
    if arrays:
        save_file(arrays, file)
    return path


HOLED = np.full((4, 3, 128), np.nan, np.float32)
WRONG = {
    "no model": (lambda p: rewrite(p, model=None), "names no model whose final norm"),
    "no layers": (
        lambda p: rewrite(p, layers=[]),
        r"different layers from 0, got \[\]",
    ),
    "same layers": (lambda p: rewrite(p, layers=[1, 1, 4]), "different layers from 0"),
    "a key": (lambda p: rewrite(p, layer=[1]), "and perhaps 'model', got"),
    "no texts": (lambda p: rewrite(p, texts=[]), "one text or more"),
    "no file": (lambda p: rewrite(p, texts=[{"id": "a"}]), r"text 0 \(counting from 0"),
    "an id twice": (
        lambda p: rewrite(p, texts=[{"id": "a", "file": "f"}] * 2),
        "holds the id 'a' more than once",
    ),
    "missing file": (
        lambda p: rewrite(p, texts=[{"id": "a", "file": "none.safetensors"}]),
        "lists 1 files that are not there, first .*none.safetensors",
    ),
    "other layers": (
        lambda p: rewrite(p, layers=[1, 2]),
        r"hidden_states are \[.*, 3, 128\]; expected \[.*, 2, 128\]",
    ),
    "no tokens": (lambda p: damage(p, hidden_states=HOLED), "holds the tensors"),
    "nan": (
        lambda p: damage(p, hidden_states=HOLED, token_ids=np.arange(4)),
        "layer 4 is NaN or infinite",
    ),
    "other width": (
        lambda p: damage(
            p, hidden_states=np.ones((4, 3, 64), "f"), token_ids=np.arange(4)
        ),
        r"expected \[4, 3, 128\]",
    ),
    "chunked": (
        lambda p: damage(p, hidden_states=HOLED, token_ids=np.arange(9)),
        "for its 9 token_ids",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused(captured, name):
    spoil, message = WRONG[name]
    with pytest.raises(StoreError, match=message):
        load_captured(spoil(captured))


def test_layers_and_rows_that_were_not_captured(captured):
    with pytest.raises(StoreError, match="layers 2, 1, 4, requested are layer 3"):
        load_captured(captured, layer=3)
    with pytest.raises(StoreError, match="one row a text"):
        load_captured(captured, pooling="token")
