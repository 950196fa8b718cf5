"""Half-precision forward passes stay within rounding of the float32 one.

Tolerance: 8 units of roundoff (bfloat16: 2**-9, float16: 2**-12) of the norm of all
states of a layer; observed: below 8 in 3 layers of random weights, 2 to 4 typically.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.models import apply_model, load_model

from .twins import VOCABULARY

ROUNDOFF = {"bfloat16": 2.0**-9, "float16": 2.0**-12}
FAMILIES = [
    "llama3",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma2",
    "gemma3",
    "phi3_partial",
    "gpt2",
    "gpt_neo",
    "gpt_neox",
    "olmo",
    "olmo2",
    "granite",
    "glm",
    "ministral3",
    "smollm3",
    "cohere2",
    "apertus",
    "nemotron",
    "codegen",
    "bloom",
    "opt_350m",
    "bert",
    "roberta",
]
CASES = [(name, "bfloat16") for name in FAMILIES]
CASES += [(name, "float16") for name in ("llama3", "gemma2", "bert")]
forward = jax.jit(
    apply_model, static_argnames=("spec", "layers", "final_norm", "logits")
)


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_half_precision(twin, name, dtype):
    _, wide = twin(name)
    narrow = load_model(str(wide.folder), dtype=dtype)
    assert narrow.spec == wide.spec
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(narrow.params)} == {dtype}
    # The third row is padding alone: it must not become NaN.
    mask = np.arange(12)[None, :] < np.array([12, 7, 0, 4])[:, None]
    tokens = np.random.default_rng(0).integers(3, VOCABULARY, mask.shape)
    outs = [
        forward(
            model.params,
            model.spec,
            jnp.asarray(tokens),
            jnp.asarray(mask),
            layers=tuple(range(model.spec.num_layers + 1)),
            final_norm=False,
            logits=True,
        )
        for model in (wide, narrow)
    ]
    assert outs[1].hidden.dtype == dtype
    assert outs[1].logits.dtype == jnp.float32
    for out in outs:
        assert np.isfinite(np.asarray(out.hidden, np.float32)).all()
        assert np.isfinite(np.asarray(out.logits)).all()
    for layer, (a, b) in enumerate(zip(outs[0].hidden, outs[1].hidden)):
        a, b = np.asarray(a)[mask], np.asarray(b, np.float32)[mask]
        error = np.linalg.norm(a - b) / np.linalg.norm(a)
        assert error < 8 * ROUNDOFF[dtype], f"layer {layer}"
    # Rounding must show, or the weights were not narrowed at all.
    assert error > ROUNDOFF[dtype] / 8


def test_padding_changes_nothing_in_half_precision(twin):
    """A padded row equals itself alone, to the rounding of another summation order."""
    _, wide = twin("llama3")
    model = load_model(str(wide.folder), dtype="bfloat16")
    tokens = np.random.default_rng(1).integers(3, VOCABULARY, (1, 5))
    alone = forward(model.params, model.spec, jnp.asarray(tokens)).hidden[0]
    padded = jnp.asarray(np.pad(tokens, ((0, 0), (7, 0))))
    mask = jnp.asarray(np.pad(np.ones((1, 5), bool), ((0, 0), (7, 0))))
    batch = forward(model.params, model.spec, padded, mask).hidden[0][:, 7:]
    difference = np.asarray(batch, np.float32) - np.asarray(alone, np.float32)
    norm = np.linalg.norm(np.asarray(alone, np.float32))
    assert np.linalg.norm(difference) < 4 * ROUNDOFF["bfloat16"] * norm
