"""The embedded models: loadable by transformers, better than a trigram, independent."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.pretrain import PretrainConfig
from helix_jax import assets
from helix_jax.models import apply_model, load_model, load_tokenizer
from helix_jax.text.corpora import load_corpus
from helix_jax.training import (
    encode_documents,
    held_out_loss,
    pack_documents,
    read_documents,
    trigram_loss,
)

MARGIN_NATS = 0.1  # a token; what "clearly better than a trigram" means here


def recipe(name):
    """The flags that the model was trained with, from its card."""
    card = (assets.model_path(name) / "README.md").read_text()
    text = card.split("```json\n", 1)[1].split("```", 1)[0]
    known = {field.name for field in dataclasses.fields(PretrainConfig)}
    return PretrainConfig(**{k: v for k, v in json.loads(text).items() if k in known})


@pytest.fixture(scope="module")
def corpus():
    return load_corpus("docstrings")


@pytest.fixture(scope="module", params=assets.NAMES)
def embedded(request, corpus):
    """Model, held-out windows, and the trigram's loss there, in nats a token.

    The trigram is trained on the model's own part of the docstrings, its own domain.
    """
    name = request.param
    config = recipe(name)
    model = load_model(str(assets.model_path(name)))
    tokenizer = load_tokenizer(str(assets.model_path(name)))
    windows = {}
    for split in ("fit", "test"):
        own = {"part": config.part, "parts": config.parts}
        texts = list(read_documents(corpus, split, **own))
        texts = texts[:: 1 if split == "fit" else 40]
        ids = encode_documents(tokenizer, texts)
        windows[split] = pack_documents(ids, context=config.context)
    trigram = trigram_loss(
        windows["fit"], windows["test"], vocab_size=model.spec.vocab_size
    )
    return name, model, windows["test"], trigram


def loss(model, params, windows):
    return held_out_loss(params, model.spec, windows)


@pytest.mark.slow
def test_it_beats_a_kneser_ney_trigram_of_its_own_tokens(embedded):
    name, model, windows, trigram = embedded
    own = loss(model, model.params, windows)
    assert own < trigram - MARGIN_NATS, (name, own, trigram)
    assert math.exp(own) < 100


@pytest.mark.slow
def test_a_wrong_checkpoint_does_not(embedded):
    """One layer's queries and keys of another size of numbers: shapes still fit."""
    name, model, windows, trigram = embedded
    params = jax.tree.map(lambda leaf: leaf, model.params)
    for kernel in ("down", "out"):
        whole = params["layers"][kernel]["kernel"]
        swapped = jnp.roll(whole, 1, axis=0)  # every layer has its neighbour's weights
        params["layers"][kernel] = {**params["layers"][kernel], "kernel": swapped}
    assert loss(model, params, windows) > trigram - MARGIN_NATS, name


@pytest.mark.parametrize("name", assets.NAMES)
def test_transformers_loads_it_to_the_same_logits(name):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = assets.model_path(name)
    twin = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(["Return the sum of an array over a given axis."])["input_ids"]
    model = load_model(str(folder))
    logits = apply_model(model.params, model.spec, np.array(tokens), logits=True).logits
    with torch.no_grad():
        expected = twin(torch.tensor(tokens)).logits.numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_they_are_independent_and_small():
    configs = [recipe(name) for name in assets.NAMES]
    assert len({config.seed for config in configs}) == 3
    assert len({config.part for config in configs}) == 3
    assert len({config.family for config in configs}) == 3
    assert {config.parts for config in configs} == {3}
    for name in assets.NAMES:
        weights = assets.model_path(name) / "model.safetensors"
        assert weights.stat().st_size < 10e6
    vocabularies = [
        load_tokenizer(str(assets.model_path(name))).get_vocab()
        for name in assets.NAMES
    ]
    llama, neox, qwen3 = vocabularies
    assert llama == qwen3
    assert len(neox) != len(llama)


def test_cards_hold_recipe_and_results():
    for name in assets.NAMES:
        numbers = assets.results(name)
        assert numbers["test/perplexity"] < numbers["test/trigram_perplexity"]
        card = (assets.model_path(name) / "README.md").read_text()
        assert f'"seed": {recipe(name).seed}' in card
        assert ".." not in card, "a card names corpora, not where they lay"


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="there are pebble-llama"):
        assets.model_path("granite")
