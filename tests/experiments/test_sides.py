"""Sides by another engine, or captured elsewhere, as programs take them.

Tolerance: 1e-5 of states of order one. Observed: below 2e-6.
"""

import dataclasses
import json

import numpy as np
import pytest

from experiments import fit
from experiments.fit import FitConfig
from experiments.generate import compute as generate
from experiments.layers import compute as layers
from experiments.shared.sides import load_side, states_of
from helix_jax.activations import Extraction, extract, save_captured
from helix_jax.errors import RunError
from helix_jax.models import load_model, load_tokenizer, model_folder
from helix_jax.runs.inputs import check_inputs, refuse_slow_dtype
from helix_jax.text.corpora import load_corpus

MODEL = "pebble-llama"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A corpus of eight short texts."""
    path = tmp_path_factory.mktemp("sides") / "texts.jsonl"
    lines = [{"id": f"d/{n}", "text": f"Return item {n} of it."} for n in range(8)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return load_corpus(str(path))


@pytest.fixture
def config(tmp_path):
    return FitConfig(
        source=MODEL,
        target=MODEL,
        workdir=str(tmp_path),
        stores=str(tmp_path / "stores"),
        max_tokens=16,
    )


@pytest.fixture
def native(corpus, config):
    return states_of(load_side(MODEL, config, layer=2), corpus, "fit", config)


def test_the_engine_torch_gives_the_same_states_in_a_store_of_its_own(
    corpus, config, native
):
    by_torch = dataclasses.replace(config, engine="torch")
    side = load_side(MODEL, by_torch, layer=2)
    store = states_of(side, corpus, "fit", by_torch)
    assert store.name != native.name
    assert len(store) > 2
    np.testing.assert_allclose(store.read(), native.read(), atol=1e-5)


def test_the_last_layer_has_one_store_however_it_is_named(corpus, config):
    last = load_model(MODEL).spec.num_layers
    by_place, by_number = (
        states_of(load_side(MODEL, config, layer=layer), corpus, "fit", config)
        for layer in (-1, last)
    )
    assert by_place.name == by_number.name
    assert by_place.layers == by_number.layers == (last,)


def test_captured_states_stand_for_a_model(tmp_path, corpus, config, native):
    model, tokenizer = load_model(MODEL), load_tokenizer(MODEL)
    texts = list(corpus.read("fit"))
    tokens = extract(
        model,
        tokenizer,
        texts,
        tmp_path / "tokens",
        Extraction((2,), final_norm=False, pooling="token", max_tokens=16),
        text_fingerprint="made",
        progress=False,
    )
    parts = np.split(tokens.read()[:, None], tokens.row_starts[1:-1])
    rows = [(t.id, np.arange(len(own)), own) for t, own in zip(texts, parts)]
    path = save_captured(tmp_path / "c.json", rows, layers=(2,), model=MODEL)
    name = f"embeddings:{path}"
    assert check_inputs(dataclasses.replace(config, source=name))[name] is None
    store = states_of(load_side(name, config, layer=2), corpus, "fit", config)
    np.testing.assert_allclose(store.read(), native.read(), atol=1e-5)
    path.write_text("{}")
    with pytest.raises(RunError, match=r"--source: .*c.json: expected \{'layers'"):
        check_inputs(dataclasses.replace(config, source=name))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"prompt_name": "query"}, "--source: pebble-llama has no prompt 'query'"),
        ({"token_budget": 99, "max_tokens": 0}, r"no room for a text of \d{3} tokens"),
    ],
)
def test_flags_are_refused_before_texts_are_read(config, flags, message):
    with pytest.raises(RunError, match=message):
        check_inputs(dataclasses.replace(config, data="imdb", **flags))


def test_what_captured_states_do_not_give_is_refused_before_texts_are_read(
    tmp_path, config
):
    rows = [("d/0", np.arange(2), np.ones((2, 1, 3), np.float32))]
    path = save_captured(tmp_path / "c.json", rows, layers=(2,), model=MODEL)
    config = dataclasses.replace(config, source=f"embeddings:{path}", data="imdb")
    with pytest.raises(
        RunError, match=r"--source: .*of the layers 2, requested are la"
    ):
        check_inputs(dataclasses.replace(config, source_layer=1))
    (tmp_path / "c-000000.safetensors").unlink()
    with pytest.raises(RunError, match=r"--source: .*lists 1 files that are not there"):
        check_inputs(config)


def test_a_model_without_tokenizer_is_refused_before_texts_are_read(tmp_path, config):
    for file in model_folder(MODEL).iterdir():
        if not file.name.startswith("tokenizer"):
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(RunError, match=r"--target: .*has no readable tokenizer"):
        check_inputs(dataclasses.replace(config, target=str(tmp_path), data="imdb"))


def test_chats_need_a_chat_template(tmp_path):
    config = generate.config_class(source=MODEL, chat=True, workdir=str(tmp_path / "w"))
    with pytest.raises(RunError, match="--source=pebble-llama has no chat template"):
        generate.prepare(config)


def test_bfloat16_is_refused_on_a_cpu_where_jax_runs_the_model(config):
    config = dataclasses.replace(config, dtype="bfloat16", data="imdb")
    with pytest.raises(
        RunError, match=r"--dtype=bfloat16: a CPU .* 1\.4 times as long"
    ):
        fit.run(config)
    refuse_slow_dtype(dataclasses.replace(config, engine="torch"))
    refuse_slow_dtype(dataclasses.replace(config, dtype="float32"))


def test_programs_that_run_blocks_apart_refuse_the_engine_torch(tmp_path):
    config = layers.config_class(
        source=MODEL, target=MODEL, engine="torch", workdir=str(tmp_path / "w")
    )
    with pytest.raises(RunError, match="--engine=torch: this program runs blocks"):
        layers.prepare(config)
