"""Attention against a loop in float64, on every way through it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.models import ModelSpec
from helix_jax.models.attention import (
    MANY_CACHED,
    MANY_SCORES,
    MASKED,
    allowed_keys,
    attend,
    score_bias,
)

# name -> B, T, S, H, K, D_head
SHAPES = {
    "at once": (3, 5, 7, 4, 2, 6),
    "many scores": (2, 260, 260, 4, 2, 6),
    "one token": (2, 1, 9, 4, 4, 6),
}


def make_spec(heads, groups, width, **changes) -> ModelSpec:
    return ModelSpec(
        "llama",
        vocab_size=8,
        width=8,
        num_layers=1,
        num_heads=heads,
        num_kv_heads=groups,
        head_width=width,
        ffn_width=8,
        max_tokens=8,
        attention_scale=0.3,
        **changes,
    )


def brute_force(q, k, v, allowed, spec) -> np.ndarray:
    """One query, head and row at a time."""
    batch, heads, time, width = q.shape
    out = np.zeros((batch, time, heads, width))
    for b in range(batch):
        for h in range(heads):
            group = h // (heads // k.shape[1])
            scores = q[b, h] @ k[b, group].T * spec.attention_scale
            if spec.attention_softcap is not None:
                cap = spec.attention_softcap
                scores = cap * np.tanh(scores / cap)
            scores = np.where(allowed[b], scores, MASKED)
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            out[b, :, h] = weights @ v[b, group]
    return out.reshape(batch, time, heads * width)


def make_inputs(name, seed=0):
    batch, time, slots, heads, groups, width = SHAPES[name]
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(batch, heads, time, width))
    k, v = rng.normal(size=(2, batch, groups, slots, width))
    allowed = rng.random((batch, time, slots)) < 0.6
    allowed[:, :, 0] = True
    return q, k, v, allowed


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("name", SHAPES)
def test_equals_brute_force(name, softcap, jitted):
    q, k, v, allowed = make_inputs(name)
    spec = make_spec(q.shape[1], k.shape[1], q.shape[3], attention_softcap=softcap)
    size = q.shape[1] * q.shape[2] * k.shape[2]
    assert (size >= MANY_SCORES) == (name == "many scores")
    function = jax.jit(attend, static_argnames="spec") if jitted else attend
    ours = function(
        *(jnp.asarray(x, jnp.float32) for x in (q, k, v)),
        score_bias(jnp.asarray(allowed)),
        spec=spec,
    )
    np.testing.assert_allclose(
        ours, brute_force(q, k, v, allowed, spec), atol=5e-6, rtol=0
    )


@pytest.mark.parametrize("slots", [9, 2048])
def test_a_layer_of_a_cache_equals_that_layer_alone(slots):
    rng = np.random.default_rng(1)
    batch, heads, groups, width, layer = 3, 4, 2, 16, 1
    assert (groups * slots * width >= MANY_CACHED) == (slots == 2048)
    q = rng.normal(size=(batch, heads, 1, width))
    keys, values = rng.normal(size=(2, 3, batch, groups, slots, width))
    allowed = np.arange(slots)[None, None, :] < np.array([3, 9, 5])[:, None, None]
    spec = make_spec(heads, groups, width)
    ours = jax.jit(attend, static_argnames="spec")(
        *(jnp.asarray(x, jnp.float32) for x in (q, keys, values)),
        score_bias(jnp.asarray(allowed)),
        spec=spec,
        layer=jnp.asarray(layer),
    )
    twin = brute_force(q, keys[layer], values[layer], allowed, spec)
    np.testing.assert_allclose(ours, twin, atol=5e-6, rtol=0)


def test_gradient_is_the_same_row_by_row_and_at_once():
    q, k, v, allowed = make_inputs("many scores")
    spec = make_spec(q.shape[1], k.shape[1], q.shape[3])
    bias = score_bias(jnp.asarray(allowed))
    q, k, v = (jnp.asarray(x, jnp.float32) for x in (q, k, v))

    def total(k, columns):
        return jnp.sum(jnp.sin(attend(q[:, :, columns], k, v, bias[:, columns], spec)))

    whole = jax.grad(total)(k, slice(None))
    # Halves of the queries stay below the limit, so they are mixed at once.
    halves = [slice(0, 100), slice(100, 200), slice(200, 260)]
    parts = sum(jax.grad(total)(k, part) for part in halves)
    np.testing.assert_allclose(whole, parts, atol=2e-5)


def test_a_row_without_any_key_is_finite():
    q, k, v, allowed = make_inputs("at once")
    spec = make_spec(q.shape[1], k.shape[1], q.shape[3])
    bias = score_bias(jnp.zeros_like(jnp.asarray(allowed)))
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        out = attend(*(jnp.asarray(x, dtype) for x in (q, k, v)), bias, spec)
        assert out.dtype == dtype
        assert np.isfinite(np.asarray(out, np.float32)).all()


def test_allowed_keys():
    mask = jnp.asarray([[False, True, True, True]])
    positions = jnp.asarray([[0, 0, 1, 2]])
    causal = allowed_keys(positions, positions, mask, causal=True)
    np.testing.assert_array_equal(
        causal[0], [[0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]
    )
    both_ways = allowed_keys(positions, positions, mask, causal=False)
    np.testing.assert_array_equal(both_ways[0], [[0, 1, 1, 1]] * 4)
