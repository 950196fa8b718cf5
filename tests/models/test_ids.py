"""Numbers that a model does not have: refused where they can be seen, NaN where not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from helix_jax.models import apply_model, empty_cache

from .twins import VOCABULARY, twin_states

GOOD = np.random.default_rng(5).integers(3, VOCABULARY, (2, 6)).astype(np.int32)
forward = jax.jit(
    apply_model, static_argnames=("spec", "layers", "final_norm", "logits")
)


def replaced(array, value, place=(1, 2)):
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize("bad", [VOCABULARY, VOCABULARY + 100, -1, 2**31 - 1])
@pytest.mark.parametrize("name", ["llama", "gpt2", "bert"])
def test_tokens_beyond_the_vocabulary(twin, name, bad):
    """transformers' embedding raises an IndexError for each of these."""
    theirs, model = twin(name)
    tokens = replaced(GOOD, bad)
    with pytest.raises(IndexError), torch.no_grad():
        theirs(torch.tensor(tokens))
    message = rf"tokens must be from 0 to {VOCABULARY - 1} .* got {bad} in row 1, co"
    with pytest.raises(ValueError, match=message):
        apply_model(model.params, model.spec, jnp.asarray(tokens))
    # While tracing nothing can be refused; the row says so itself, the others are well.
    hidden = np.asarray(forward(model.params, model.spec, jnp.asarray(tokens)).hidden)
    whole = np.asarray(forward(model.params, model.spec, jnp.asarray(GOOD)).hidden)
    assert np.isnan(hidden[0, 1]).all()
    np.testing.assert_allclose(hidden[0, 0], whole[0, 0], atol=1e-6)


@pytest.mark.parametrize("bad", [VOCABULARY, -1, -100])
def test_any_number_may_stand_at_padding(twin, bad):
    _, model = twin("bert")
    mask = replaced(np.ones(GOOD.shape, bool), False, (1, 5))
    tokens = jnp.asarray(replaced(GOOD, bad, (1, 5)))
    out = apply_model(model.params, model.spec, tokens, jnp.asarray(mask)).hidden
    same = apply_model(model.params, model.spec, jnp.asarray(GOOD), jnp.asarray(mask))
    assert np.isfinite(np.asarray(out)).all()
    np.testing.assert_array_equal(np.asarray(out)[0][mask], same.hidden[0][mask])


ROW = jnp.ones((1, 3), jnp.int32)
INPUTS = [
    (([[3, 4]],), {}, "tokens must be a .* got list; make one with jnp.asarray"),
    ((ROW[:0],), {}, r"at least one row of one token, got \[0, 3\]"),
    ((ROW[:, :0],), {}, r"at least one row of one token, got \[1, 0\]"),
    ((ROW, [[1, 1, 0]]), {}, "mask must be a .* got list"),
    ((ROW, ROW * 0.5), {}, "mask must be 1 for tokens and 0 for padding, got float32"),
    ((ROW, ROW * jnp.nan), {}, "mask must be 1 for tokens"),
    ((ROW, ROW * -1e9), {}, "a bias that is added to scores is not a mask"),
    ((ROW,), {"token_types": ROW * 0.5}, "token_types must be .* integers, got float"),
    ((ROW,), {"token_types": ROW[0]}, r"token_types must be .* got int32\[3\]"),
]


@pytest.mark.parametrize(("inputs", "others", "message"), INPUTS)
def test_inputs_that_are_none(twin, inputs, others, message):
    _, model = twin("bert")
    with pytest.raises(ValueError, match=message):
        apply_model(model.params, model.spec, *inputs, **others)


def test_a_mask_of_floating_point_ones_and_zeros(twin):
    _, model = twin("bert")
    mask = jnp.asarray(replaced(np.ones(GOOD.shape, np.float32), 0, (1, 5)))
    inputs = model.params, model.spec, jnp.asarray(GOOD)
    want = apply_model(*inputs, mask.astype(bool)).hidden
    np.testing.assert_array_equal(apply_model(*inputs, mask).hidden, want)


@pytest.mark.parametrize("bad", [2, -1])
def test_token_types_that_there_are_not(twin, bad):
    _, model = twin("bert")
    kinds = jnp.asarray(replaced(np.zeros_like(GOOD), bad))
    inputs = model.params, model.spec, jnp.asarray(GOOD)
    with pytest.raises(
        ValueError, match=rf"token_types must be from 0 to 1.*got {bad}"
    ):
        apply_model(*inputs, token_types=kinds)
    assert np.isnan(np.asarray(forward(*inputs, token_types=kinds).hidden[0, 1])).all()
    with pytest.raises(
        ValueError, match=r"token_types must have the shape .* \[2, 3\]"
    ):
        apply_model(*inputs, token_types=kinds[:, :3])


def test_token_types_of_a_model_that_has_none(twin):
    _, model = twin("llama")
    zeros = jnp.zeros(GOOD.shape, jnp.int32)
    with pytest.raises(ValueError, match="llama has no token types"):
        apply_model(model.params, model.spec, jnp.asarray(GOOD), token_types=zeros)


@pytest.mark.slow
def test_positions_beyond_the_table(twin):
    """A cache may be longer than the table of positions, which holds 64."""
    _, model = twin("gpt2")
    tokens = jnp.asarray(np.tile(GOOD[:1], (1, 10)))
    cache = empty_cache(model.spec, 1, 80)
    cache = apply_model(model.params, model.spec, tokens, cache=cache).cache
    inputs = model.params, model.spec, tokens[:, :6]
    with pytest.raises(ValueError, match=r"positions must be from 0 to 63.*got 64"):
        apply_model(*inputs, cache=cache)
    assert np.isfinite(forward(*inputs[:2], tokens[:, :4], cache=cache).hidden).all()
    assert np.isnan(forward(*inputs, cache=cache).hidden).all()


def test_a_pass_without_a_cache_extends_none(twin):
    _, model = twin("llama")
    tokens = jnp.asarray(GOOD)
    cache = empty_cache(model.spec, *GOOD.shape)
    kept = apply_model(model.params, model.spec, tokens, cache=cache)
    assert kept.extended is kept.cache
    bare = apply_model(model.params, model.spec, tokens)
    with pytest.raises(ValueError, match=r"kept no cache; give apply_model one, from"):
        bare.extended  # noqa: B018  # it is refused


@pytest.mark.parametrize(
    ("name", "side"),
    [("roberta", "none"), ("roberta", "right"), ("roberta", "left"), ("mpnet", "left")],
)
def test_a_padding_token_within_a_roberta_text(twin, name, side):
    """Without position_ids transformers counts them by the padding id; so do we."""
    theirs, model = twin(name)
    tokens = np.concatenate([replaced(GOOD, 1, (slice(None), 3)), GOOD], axis=1)
    mask = np.ones(tokens.shape, bool)
    if side != "none":
        mask[1, slice(-4, None) if side == "right" else slice(0, 4)] = False
    tokens = np.where(mask, tokens, 1)
    with torch.no_grad():
        out = theirs(
            torch.tensor(tokens),
            attention_mask=torch.tensor(mask.astype(np.int64)),
            output_hidden_states=True,
        )
    ours = apply_model(
        model.params, model.spec, jnp.asarray(tokens), jnp.asarray(mask), logits=True
    )
    last = out.hidden_states[-1].numpy()
    assert np.abs(np.asarray(ours.hidden[0]) - last)[mask].max() < 1e-4
    assert np.abs(np.asarray(ours.logits) - out.logits.numpy())[mask].max() < 1e-4
    # The count matters: with one position for each token the states are others.
    other, _ = twin_states(theirs, tokens, mask)
    assert np.abs(other[-1] - last)[mask].max() > 0.1


def test_parameters_may_be_numpy_arrays(twin):
    _, model = twin("gpt2")
    plain = jax.tree.map(np.asarray, model.params)
    out = apply_model(plain, model.spec, GOOD).hidden
    wanted = apply_model(model.params, model.spec, jnp.asarray(GOOD)).hidden
    np.testing.assert_allclose(out, wanted, atol=1e-6)
