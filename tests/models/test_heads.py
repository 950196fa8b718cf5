"""Output heads whose parts are tied, untied, or stored twice, against transformers."""

import shutil
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file, save_file

from helix_jax.errors import CheckpointError
from helix_jax.models import apply_model, load_model, save_model
from helix_jax.models.vocabulary import project_to_vocabulary

from .twins import VOCABULARY, build_twin, twin_config, twin_states

TOKENS = np.random.default_rng(8).integers(3, VOCABULARY, (2, 8))
MASK = np.ones(TOKENS.shape, bool)
forward = jax.jit(apply_model, static_argnames=("spec", "logits"))
# Where bert and roberta keep the head's two biases: (the decoder's, the shared one).
BIASES = {
    "bert": ("cls.predictions.decoder.bias", "cls.predictions.bias"),
    "roberta": ("lm_head.decoder.bias", "lm_head.bias"),
}
EMBEDDINGS = {
    "bert": "bert.embeddings.word_embeddings.weight",
    "roberta": "roberta.embeddings.word_embeddings.weight",
    "gpt2": "transformer.wte.weight",
}
KERNELS = {
    "bert": "cls.predictions.decoder.weight",
    "roberta": "lm_head.decoder.weight",
    "gpt2": "lm_head.weight",
}


def logits_of(folder) -> np.ndarray:
    model = load_model(str(folder))
    return np.asarray(forward(model.params, model.spec, TOKENS, logits=True).logits)


def change(folder: Path, edit) -> None:
    file = folder / "model.safetensors"
    save_file(edit(load_file(file)), file, metadata={"format": "pt"})


@pytest.mark.parametrize("name", BIASES)
def test_an_untied_head_has_the_bias_of_its_decoder(tmp_path, name):
    theirs = build_twin(name, tie_word_embeddings=False)
    theirs.save_pretrained(tmp_path / "m")
    stored = load_file(tmp_path / "m" / "model.safetensors")
    decoder, shared = BIASES[name]
    assert not np.allclose(stored[decoder], stored[shared], atol=0.1)
    assert not np.allclose(stored[KERNELS[name]], stored[EMBEDDINGS[name]], atol=0.1)
    wanted = twin_states(theirs, TOKENS, MASK)[1]
    assert np.abs(logits_of(tmp_path / "m") - wanted).max() < 1e-4
    # And back: what is saved is read alike by transformers.
    model = load_model(str(tmp_path / "m"))
    save_model(tmp_path / "n", model.params, model.spec, theirs.config, dtype="float32")
    again, info = transformers.AutoModelForMaskedLM.from_pretrained(
        tmp_path / "n", output_loading_info=True, attn_implementation="eager"
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert np.abs(twin_states(again.eval(), TOKENS, MASK)[1] - wanted).max() < 1e-5


@pytest.mark.parametrize("name", BIASES)
def test_a_tied_head_may_store_either_bias_or_both(twin, tmp_path, name):
    _, model = twin(name)
    decoder, shared = BIASES[name]
    wanted = logits_of(model.folder)
    folder = Path(shutil.copytree(model.folder, tmp_path / "m"))
    change(folder, lambda t: t | {decoder: t[shared], shared: t[shared]})
    np.testing.assert_array_equal(logits_of(folder), wanted)
    change(folder, lambda t: {k: v for k, v in t.items() if k != shared})
    np.testing.assert_array_equal(logits_of(folder), wanted)
    change(folder, lambda t: t | {shared: t[decoder] + 1})
    with pytest.raises(
        CheckpointError, match=r"ties the output head.*predictions|lm_h"
    ):
        load_model(str(folder))


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_a_tied_head_may_be_stored_in_place_of_the_embedding(twin, tmp_path, name):
    """As transformers has it, which ties whichever of the two is there."""
    _, model = twin(name)
    folder = Path(shutil.copytree(model.folder, tmp_path / "m"))
    embedding, kernel = EMBEDDINGS[name], KERNELS[name]
    change(folder, lambda t: {kernel if k == embedding else k: v for k, v in t.items()})
    np.testing.assert_array_equal(logits_of(folder), logits_of(model.folder))


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu_new"])
@pytest.mark.parametrize("name", BIASES)
def test_the_activation_of_a_masked_head(tmp_path, name, activation):
    """That of the layers in bert, always gelu in roberta."""
    theirs = build_twin(name, hidden_act=activation)
    theirs.save_pretrained(tmp_path)
    wanted = twin_states(theirs, TOKENS, MASK)[1]
    assert np.abs(logits_of(tmp_path) - wanted).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("llama", transformers.AutoModelForQuestionAnswering),
        ("electra_small", transformers.AutoModelForMultipleChoice),
        ("eurobert", transformers.AutoModelForSequenceClassification),
    ],
)
def test_parameters_under_heads_that_are_not_read(tmp_path, name, kind):
    """The base model under another name, and classifiers with layers of their own."""
    theirs = kind.from_config(twin_config(name))
    theirs.save_pretrained(tmp_path / "whole")
    theirs.base_model.save_pretrained(tmp_path / "base")
    model, base = (load_model(str(tmp_path / part)) for part in ("whole", "base"))
    assert model.spec == base.spec
    assert jax.tree.all(jax.tree.map(np.array_equal, model.params, base.params))


def test_gemma3_never_caps_its_attention(tmp_path):
    theirs = build_twin("gemma3", attn_logit_softcapping=0.5)
    theirs.save_pretrained(tmp_path)
    wanted = twin_states(theirs, TOKENS, MASK)[1]
    assert np.abs(logits_of(tmp_path) - wanted).max() < 1e-4
    # Gemma 2 does, and there the cap is seen.
    capped = build_twin("gemma2", attn_logit_softcapping=0.5)
    capped.save_pretrained(tmp_path / "2")
    wanted = twin_states(capped, TOKENS, MASK)[1]
    assert np.abs(logits_of(tmp_path / "2") - wanted).max() < 1e-4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_that_are_no_numbers(twin, tmp_path, value, dtype):
    _, model = twin("llama")
    folder = Path(shutil.copytree(model.folder, tmp_path / "m"))
    name = "model.layers.1.mlp.up_proj.weight"

    def spoil(tensors):
        tensors[name] = tensors[name].copy()
        tensors[name][3, 5] = value
        return tensors

    change(folder, spoil)
    with pytest.raises(CheckpointError, match=rf"'{name}' .* holds NaN or infinity"):
        load_model(str(folder), dtype=dtype)


@pytest.mark.parametrize("count", [1, 2, 32, 33])
def test_the_logits_of_a_row_do_not_depend_on_how_many_there_are(twin, count):
    """A CPU multiplies few rows by a tied head in another order than many."""
    _, model = twin("gpt2")
    assert model.spec.tied
    rng = np.random.default_rng(count)
    h = rng.normal(size=(1, count, model.spec.width)).astype(np.float32)
    weights = rng.normal(size=(1, count, model.spec.vocab_size)).astype(np.float32)

    @jax.jit
    def both(h):
        head = partial(project_to_vocabulary, model.params, model.spec)
        return jax.vjp(head, h)

    logits, back = both(h)
    table = np.asarray(model.params["embed"], np.float64)
    np.testing.assert_allclose(logits, h @ table.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(back(weights)[0], weights @ table, rtol=1e-5, atol=1e-5)
