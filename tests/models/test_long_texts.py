"""Feed-forward layers of long texts, some tokens at a time, against transformers."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from helix_jax.models import apply_model, block


def test_states_by_blocks_of_tokens_are_those_of_transformers(twin, monkeypatch):
    """13 tokens in blocks of 5; observed: 3.7e-7 of the largest."""
    monkeypatch.setattr(block, "MOST_TOKENS", 5)
    theirs, model = twin("llama")
    tokens = np.random.default_rng(0).integers(3, model.spec.vocab_size, (2, 13))

    def states(params, tokens):
        return apply_model(params, model.spec, tokens).hidden[0]

    lowered = jax.jit(states).lower(model.params, jnp.asarray(tokens, jnp.int32))
    assert f"2x5x{model.spec.ffn_width}xf32" in lowered.as_text()
    ours = lowered.compile()(model.params, jnp.asarray(tokens, jnp.int32))
    with torch.inference_mode():
        wanted = theirs(torch.tensor(tokens), output_hidden_states=True)
    wanted = wanted.hidden_states[-1].numpy()
    assert np.abs(np.asarray(ours) - wanted).max() < 1e-6 * np.abs(wanted).max()
