"""Attention against a loop in float64, on every way through it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.models import ModelSpec
from helix_jax.models.attention import MANY_CACHED, MANY_SCORES, attend
from helix_jax.models.scores import MASKED, Reach, allowed_keys, score_bias

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


def brute_force(q, k, v, allowed, spec, by_head=None, sinks=None) -> np.ndarray:
    """One head and row at a time; by_head: [B, H, T, S], sinks: [H]."""
    batch, heads, time, width = q.shape
    out = np.zeros((batch, time, heads, width))
    for b in range(batch):
        for h in range(heads):
            group = h // (heads // k.shape[1])
            scores = q[b, h] @ k[b, group].T * spec.attention_scale
            if spec.attention_softcap is not None:
                cap = spec.attention_softcap
                scores = cap * np.tanh(scores / cap)
            if by_head is not None:
                scores = scores + by_head[b, h]
            scores = np.where(allowed[b], scores, MASKED)
            most = scores.max(axis=1, keepdims=True)
            weights = np.exp(scores - most)
            total = weights.sum(axis=1, keepdims=True)
            weights /= total if sinks is None else total + np.exp(sinks[h] - most)
            out[b, :, h] = weights @ v[b, group]
    return out.reshape(batch, time, heads * width)


def jit_attend(q, k, v, reach, *, spec, **options):
    """`attend` compiled; what of a reach is no array is static, as in a model."""
    arrays = ("query_positions", "key_positions", "key_mask", "window", "ready")

    def run(q, k, v, tables, options):
        return attend(q, k, v, reach._replace(**tables), spec, **options)

    tables = {name: getattr(reach, name) for name in arrays}
    return jax.jit(run)(q, k, v, tables, options)


def reach_of(allowed) -> Reach:
    """A reach of any form, its bias ready."""
    batch, time, slots = allowed.shape
    positions = [jnp.zeros((batch, size), jnp.int32) for size in (time, slots)]
    mask = jnp.ones((batch, slots), bool)
    return Reach(*positions, mask, ready=(score_bias(jnp.asarray(allowed)), None))


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
    function = jit_attend if jitted else attend
    ours = function(
        *(jnp.asarray(x, jnp.float32) for x in (q, k, v)), reach_of(allowed), spec=spec
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
    ours = jit_attend(
        *(jnp.asarray(x, jnp.float32) for x in (q, keys, values)),
        reach_of(allowed),
        spec=spec,
        layer=jnp.asarray(layer),
    )
    twin = brute_force(q, keys[layer], values[layer], allowed, spec)
    np.testing.assert_allclose(ours, twin, atol=5e-6, rtol=0)


@pytest.mark.slow
def test_gradient_is_the_same_row_by_row_and_at_once():
    q, k, v, allowed = make_inputs("many scores")
    spec = make_spec(q.shape[1], k.shape[1], q.shape[3])
    q, k, v = (jnp.asarray(x, jnp.float32) for x in (q, k, v))

    def total(k, columns):
        reach = reach_of(allowed[:, columns])
        return jnp.sum(jnp.sin(attend(q[:, :, columns], k, v, reach, spec)))

    whole = jax.grad(total)(k, slice(None))
    # Halves of the queries stay below the limit, so they are mixed at once.
    halves = [slice(0, 100), slice(100, 200), slice(200, 260)]
    parts = sum(jax.grad(total)(k, part) for part in halves)
    np.testing.assert_allclose(whole, parts, atol=2e-5)


def test_a_row_without_any_key_is_finite():
    q, k, v, allowed = make_inputs("at once")
    spec = make_spec(q.shape[1], k.shape[1], q.shape[3])
    reach = reach_of(np.zeros_like(allowed))
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        out = attend(*(jnp.asarray(x, dtype) for x in (q, k, v)), reach, spec)
        assert out.dtype == dtype
        assert np.isfinite(np.asarray(out, np.float32)).all()


LONG = {
    "window, soft cap": ({"window": 90}, {"attention_softcap": 1.5}, {}),
    "by head, sinks": ({"by_head": True}, {}, {"sinks": np.array([0.0, 3, -1, 2])}),
    "encoder": ({"causal": False}, {}, {}),
}


@pytest.mark.parametrize("name", LONG)
def test_long_texts_equal_brute_force(name):
    """By blocks, with a cache of three layers, padding on both sides and within."""
    changes, settings, options = LONG[name]
    batch, heads, groups, time, slots, width = 2, 4, 2, 600, 900, 6
    spec = make_spec(heads, groups, width, **settings)
    rng = np.random.default_rng(2)
    mask = np.ones((batch, slots), bool)
    mask[0, :300] = mask[0, 870:] = mask[1, 40:60] = False
    keys = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    queries = keys[:, slots - time :]
    changes, added = dict(changes), None
    if changes.get("by_head"):
        distance = queries[:, :, None] - keys[:, None, :]
        slopes = np.array([0.5, 0.1, 0.02, 0.0])
        added = -slopes[:, None, None] * np.abs(distance)[:, None]

        def by_head(part):
            queries, keys = part.query_positions, part.key_positions
            distance = jnp.abs(queries[:, :, None] - keys[:, None, :])
            return -jnp.asarray(slopes)[:, None, None] * distance[:, None]

        changes["by_head"] = by_head
    reach = Reach(*map(jnp.asarray, (queries, keys, mask)), **changes)
    assert reach.is_long
    q = rng.normal(size=(batch, heads, time, width))
    k, v = rng.normal(size=(2, 3, batch, groups, slots, width))
    ours = jit_attend(
        *(jnp.asarray(x, jnp.float32) for x in (q, k, v)),
        reach,
        spec=spec,
        layer=jnp.asarray(1),
        **options,
    )
    twin = brute_force(q, k[1], v[1], np.asarray(reach.allowed), spec, added, **options)
    np.testing.assert_allclose(ours, twin, atol=5e-6, rtol=0)


@pytest.mark.slow
def test_the_gradient_by_blocks_is_that_of_all_scores():
    spec, time = make_spec(2, 1, 4), 730
    q, k, v = np.random.default_rng(3).normal(size=(3, 1, 2, time, 4))
    k, v = k[:, :1], v[:, :1]
    positions = jnp.arange(time)[None]
    reach = Reach(positions, positions, jnp.ones((1, time), bool), window=200)
    assert reach.is_long
    whole = np.array(score_bias(reach.allowed))

    def total(k, blocks):
        if blocks:
            return jnp.sum(jnp.sin(attend(q, k, v, reach, spec)))
        scores = spec.attention_scale * jnp.einsum("bhqd,bksd->bhqs", q, k)
        mixed = jax.nn.softmax(scores + whole[:, None]) @ v
        return jnp.sum(jnp.sin(mixed))

    q, k, v = (jnp.asarray(x, jnp.float32) for x in (q, k, v))
    gradient = jax.jit(jax.grad(total), static_argnums=1)
    np.testing.assert_allclose(gradient(k, True), gradient(k, False), atol=2e-5)


def test_sinks_on_short_texts():
    q, k, v, allowed = make_inputs("at once")
    spec, sinks = make_spec(q.shape[1], k.shape[1], q.shape[3]), np.arange(-1.0, 3)
    ours = attend(
        *(jnp.asarray(x, jnp.float32) for x in (q, k, v)),
        reach_of(allowed),
        spec,
        sinks=jnp.asarray(sinks),
    )
    twin = brute_force(q, k, v, allowed, spec, sinks=sinks)
    np.testing.assert_allclose(ours, twin, atol=5e-6, rtol=0)


def test_a_long_text_of_padding_alone_is_finite():
    spec, time = make_spec(2, 1, 4), 730
    for dtype in (jnp.bfloat16, jnp.float16):
        q, k = jnp.ones((1, 2, time, 4), dtype), jnp.ones((1, 1, time, 4), dtype)
        positions = jnp.zeros((1, time), jnp.int32)
        reach = Reach(positions, positions, jnp.zeros((1, time), bool))
        assert reach.is_long
        out = jax.jit(lambda q, k, r=reach: attend(q, k, k, r, spec))(q, k)
        assert out.dtype == dtype
        assert np.isfinite(np.asarray(out, np.float32)).all()


def test_allowed_keys():
    mask = jnp.asarray([[False, True, True, True]])
    positions = jnp.asarray([[0, 0, 1, 2]])
    causal = allowed_keys(positions, positions, mask, causal=True)
    np.testing.assert_array_equal(
        causal[0], [[0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]
    )
    near = allowed_keys(positions, positions, mask, causal=True, window=1)
    np.testing.assert_array_equal(near[0, 1:], np.eye(4)[1:])
    both_ways = allowed_keys(positions, positions, mask, causal=False)
    np.testing.assert_array_equal(both_ways[0], [[0, 1, 1, 1]] * 4)
