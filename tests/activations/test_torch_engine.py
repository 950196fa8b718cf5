"""Stores of families that are not native, against transformers called directly.

Tolerance: 1e-5 absolute, on means of states of order one. Observed: below 1e-6.
"""

import numpy as np
import pytest
import torch
import transformers

from helix_jax.activations import layer_side
from helix_jax.activations.token_states import token_states
from helix_jax.errors import FingerprintError
from helix_jax.models import load_tokenizer
from helix_jax.models.engines import load_model_by

from .made import extracted, make_texts, make_tokenizer, store_bytes

TEXTS = make_texts(40)
SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEADS = SIZES | {
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
# name -> (model_type, config attributes, layers that are one vector a token)
OTHERS = {
    "mamba": ("mamba", SIZES | {"state_size": 4}, (0, 1, 2)),
    "deepseek_v3": (
        "deepseek_v3",
        HEADS
        | {
            "num_key_value_heads": 4,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
            "moe_intermediate_size": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "first_k_dense_replace": 1,
        },
        (0, 1, 2),
    ),
    "gemma3n": (
        "gemma3n_text",
        HEADS
        | {
            "vocab_size_per_layer_input": 96,
            "hidden_size_per_layer_input": 8,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention"],
            "num_kv_shared_layers": 0,
            "laurel_rank": 4,
            "activation_sparsity_pattern": [0.0, 0.0],
        },
        (2,),
    ),
    "deberta": (
        "deberta-v2",
        HEADS
        | {
            "relative_attention": True,
            "position_buckets": 8,
            "pos_att_type": ["p2c", "c2p"],
            "share_att_key": True,
            "position_biased_input": False,
            "norm_rel_ebd": "layer_norm",
        },
        (0, 1, 2),
    ),
}


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """name -> (transformers model, our model, tokenizer, layers)."""
    made = {}

    def get(name):
        if name not in made:
            kind, attributes, layers = OTHERS[name]
            folder = tmp_path_factory.mktemp("others") / name
            torch.manual_seed(0)
            config = transformers.CONFIG_MAPPING[kind](**attributes)
            theirs = transformers.AutoModel.from_config(config).eval()
            theirs.save_pretrained(folder)
            make_tokenizer().save_pretrained(folder)
            model = load_model_by("auto", str(folder))
            made[name] = theirs, model, load_tokenizer(str(folder)), layers
        return made[name]

    return get


def run(model, tokenizer, texts, path, **options):
    return extracted(model, tokenizer, texts, path, **{"window": 16, **options})


def direct(theirs, tokenizer, texts):
    """[layers + 1, T, D] of each text by itself, the last as transformers ends."""
    for text in texts:
        with torch.no_grad():
            output = theirs(
                **tokenizer(
                    text.text, return_tensors="pt", return_token_type_ids=False
                ),
                output_hidden_states=True,
            )
        states = [*output.hidden_states[:-1], output.last_hidden_state]
        yield [state[0].numpy() for state in states]


@pytest.mark.parametrize("name", OTHERS)
def test_a_store_equals_transformers_called_directly(tmp_path, other, name):
    theirs, model, tokenizer, layers = other(name)
    store = run(model, tokenizer, TEXTS, tmp_path / "s", layers=layers[-1:])
    raw = run(model, tokenizer, TEXTS, tmp_path / "r", layers=layers, final_norm=False)
    assert store.fingerprint["engine"]["name"] == "torch"
    for row, states in enumerate(direct(theirs, tokenizer, TEXTS[:8])):
        want = states[-1].mean(0)
        np.testing.assert_allclose(store.read()[row], want, atol=1e-5)
        for layer in layers[:-1]:
            want = states[layer].mean(0)
            np.testing.assert_allclose(raw.read(layer)[row], want, atol=1e-5)


def test_the_final_norm_of_every_layer_is_the_models_own(tmp_path, other):
    theirs, model, tokenizer, _ = other("mamba")
    with torch.no_grad():
        theirs.norm_f.weight.copy_(torch.linspace(0.5, 2, 32))
        model.network.norm_f.weight.copy_(theirs.norm_f.weight)
    options = {"layers": (1, 2), "pooling": "last"}
    normed = run(model, tokenizer, TEXTS[:6], tmp_path / "n", **options)
    raw = run(model, tokenizer, TEXTS[:6], tmp_path / "r", final_norm=False, **options)
    for layer in (1, 2):
        with torch.no_grad():
            want = theirs.norm_f(torch.tensor(raw.read(layer))).numpy()
        np.testing.assert_allclose(normed.read(layer), want, atol=1e-5)
    last = [states[-1][-1] for states in direct(theirs, tokenizer, TEXTS[:6])]
    np.testing.assert_allclose(normed.read(2), last, atol=1e-5)


def test_streams_that_are_no_vectors_are_refused(tmp_path, other):
    _, model, tokenizer, _ = other("gemma3n")
    with pytest.raises(ValueError, match=r"at layer 0 is not one vector.*that are: 2"):
        run(model, tokenizer, TEXTS, tmp_path / "s", layers=(0, 2))


class Stopped(Exception):
    """Stands for whatever ends a process."""


def test_a_store_that_was_stopped_goes_on_to_the_same_bytes(tmp_path, other):
    _, model, tokenizer, _ = other("mamba")

    def stopping():
        yield from TEXTS[:20]
        raise Stopped

    run(model, tokenizer, TEXTS, tmp_path / "whole", window=8)
    with pytest.raises(Stopped):
        run(model, tokenizer, stopping(), tmp_path / "stopped", window=8)
    begun = store_bytes(tmp_path / "stopped")
    assert begun
    run(model, tokenizer, TEXTS, tmp_path / "stopped", window=8)
    assert store_bytes(tmp_path / "stopped") == store_bytes(tmp_path / "whole")
    assert begun != store_bytes(tmp_path / "whole")


def test_another_version_of_an_engine_is_another_store(tmp_path, other):
    _, model, tokenizer, _ = other("mamba")
    run(model, tokenizer, TEXTS[:4], tmp_path / "s")
    engine = model.fingerprint["engine"] | {"torch": "1.0"}
    older = model._replace(fingerprint=model.fingerprint | {"engine": engine})
    with pytest.raises(FingerprintError, match=r"engine: .*1\.0"):
        run(older, tokenizer, TEXTS[:4], tmp_path / "s")


def test_states_of_tokens(tmp_path, other):
    _, model, tokenizer, _ = other("deberta")
    side = layer_side(model, tokenizer, layers=(-1,))
    ids = [tokenizer(text.text)["input_ids"] for text in TEXTS[:10]]
    store = run(model, tokenizer, TEXTS[:10], tmp_path / "s", pooling="token")
    got = token_states(side.states, ids, token_budget=64)
    np.testing.assert_allclose(got[0], store.read(), atol=1e-5)
