"""Maps between token states on planted pairs; their files; who writes."""

import jax
import numpy as np
import pytest

from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.activations.token_states import layer_side
from helix_jax.alignment import (
    Descent,
    apply_map,
    fit_gradient,
    fit_ridge,
    ridge_at,
    select_penalty,
)
from helix_jax.errors import FingerprintError
from helix_jax.generation import generate, native
from helix_jax.generation.arms import alone, arms_of
from helix_jax.generation.heads import head_of
from helix_jax.generation.stitch import Part
from helix_jax.generation.stitch_files import load_stitch, save_token_map
from helix_jax.generation.token_map import (
    PairSample,
    fit_token_map,
    refine_map,
    sample_pairs,
    token_controls,
)
from helix_jax.types import Text

from .conftest import random_map

TEXTS = [
    Text(f"d{number}", f"Return the {word} of the array along the given axis.")
    for number, word in enumerate(["mean", "sum", "variance", "median", "largest"])
]
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def pairs(pebble):
    source, target = (layer_side(*pebble(name)) for name in ("llama", "qwen3"))
    return TokenPairs(source, target, lambda: iter(TEXTS), block_rows=16)


@pytest.mark.parametrize("keep_rows", [False, True])
@pytest.mark.slow
def test_a_sample_has_the_moments_of_its_first_pairs(pairs, keep_rows):
    sample = sample_pairs(pairs, 40, key=KEY, keep_rows=keep_rows)
    x, y = pairs.read(40)
    assert (sample.rows is None) is not keep_rows
    for moments in (sample.moments, sample.shuffled):
        assert int(moments.count) == 40
        np.testing.assert_allclose(moments.mean_x, x.mean(0), atol=1e-5)
        np.testing.assert_allclose(moments.mean_y, y.mean(0), atol=1e-5)
    want = np.cov(x.T, y.T, bias=True)[: x.shape[1], x.shape[1] :]
    np.testing.assert_allclose(sample.moments.cov_xy, want, atol=1e-4)
    assert np.abs(np.asarray(sample.shuffled.cov_xy) - want).max() > 0.1


def test_rows_are_those_whose_tokens_end_together(pebble):
    """Where the source has read on, it knows what the target is to predict."""
    source, target = (layer_side(*pebble(name)) for name in ("llama", "neox"))
    text = Text("d", "Interpolates multidimensional arrays of Fourier coefficients.")
    pairs = TokenPairs(source, target, lambda: iter([text]), block_rows=16)
    found = sample_pairs(pairs, 20, key=KEY, keep_rows=True)
    same = np.concatenate([block.end_x == block.end_y for block in pairs])[:20]
    assert 5 < same.sum() < 20
    for own, wanted in zip(found.rows, pairs.read(20)):
        np.testing.assert_array_equal(own, wanted[same])
    assert int(found.moments.count) == 20


@pytest.mark.slow
def test_controls_know_nothing_of_the_pairing(pairs):
    sample = sample_pairs(pairs, 1000, key=KEY, keep_rows=False)
    controls = token_controls(sample, penalty=0.1, key=KEY)
    assert list(controls) == ["mean", "shuffled", "random"]
    x, y = sample.first
    np.testing.assert_allclose(
        apply_map(controls["mean"], x), np.tile(y.mean(0), (len(x), 1)), atol=1e-5
    )
    shuffled = ridge_at(fit_ridge(sample.shuffled, penalties=0.1), 0).map
    np.testing.assert_array_equal(controls["shuffled"].kernel, shuffled.kernel)
    q = np.asarray(controls["random"].kernel)  # widths 128 and 144
    np.testing.assert_allclose(q @ q.T, q[0] @ q[0] * np.eye(128), atol=1e-5)


@pytest.mark.parametrize("method", ["kl", "mlp"])
def test_refining_lowers_the_divergence(pairs, pebble, method):
    sample = sample_pairs(pairs, 1000, key=KEY, keep_rows=True)
    ridge = ridge_at(fit_ridge(sample.moments, penalties=10.0), 0).map
    target, _ = pebble("qwen3")
    spec = target.spec
    head = head_of(Part(target.params, spec, spec.num_layers, True))

    def descend(*args, **given):
        return fit_gradient(*args, settings=Descent(batch=16, epochs=3), **given)

    refined, descent = refine_map(
        ridge,
        sample,
        sample,
        method=method,
        head=head,
        hidden=8,
        key=jax.random.split(KEY),
        descend=descend,
    )

    def divergence(affine):
        x, y = sample.rows
        own, mapped = (
            np.asarray(jax.nn.log_softmax(head(z)), float)
            for z in (y, apply_map(affine, x))
        )
        return np.mean(np.sum(np.exp(own) * (own - mapped), axis=1))

    assert divergence(refined) < 0.9 * divergence(ridge)
    assert divergence(refined) == pytest.approx(float(descent.loss), rel=1e-3)


@pytest.mark.slow
def test_a_token_map_has_a_confidence_or_says_why_not(pairs):
    sample = sample_pairs(pairs, 1000, key=KEY, keep_rows=False)
    assert set(sample.text_ids) == {text.id for text in TEXTS}
    for own, wanted in zip(sample.first, pairs.read(1000)):
        np.testing.assert_array_equal(own, wanted)
    ridge = select_penalty(fit_ridge(sample.moments), sample.moments)
    keys = jax.random.split(KEY, 3)
    x, y = sample.first
    many = sample._replace(text_ids=np.array([f"d{n}" for n in range(len(x))], object))
    fitted = fit_token_map(ridge, sample, many, key=keys)
    mapped = np.asarray(fitted.map(x))
    predicted, _ = fitted.confidence("cosine", x, mapped)
    true = np.einsum("ij,ij->i", mapped, y) / (
        np.linalg.norm(mapped, axis=1) * np.linalg.norm(y, axis=1)
    )
    assert abs(predicted.mean() - true.mean()) < 0.1
    one = sample._replace(text_ids=np.full(len(x), "d0", object))
    why = fit_token_map(ridge, sample, one, key=keys).confidence
    assert "needs 20 rows in each half of the documents" in why


def test_what_cannot_be_refined_is_refused(pairs):
    sample = sample_pairs(pairs, 40, key=KEY, keep_rows=False)
    given = {"head": None, "hidden": 8, "key": jax.random.split(KEY)}
    with pytest.raises(ValueError, match="must be kl or mlp, got 'ridge'"):
        refine_map(None, sample, sample, method="ridge", **given)
    with pytest.raises(ValueError, match="sample pairs with keep_rows"):
        refine_map(None, sample, sample, method="kl", **given)
    whole = sample_pairs(pairs, 40, key=KEY, keep_rows=True)
    with pytest.raises(ValueError, match="kl needs the target's head; give head="):
        refine_map(None, whole, whole, method="kl", **given)
    assert PairSample(*sample) == sample


def test_a_saved_map_is_stitched_at_its_cuts(pebble, tmp_path):
    (source, _), (target, _) = pebble("llama"), pebble("qwen3")
    affine = random_map(source, target)
    save_token_map(
        tmp_path / "map",
        affine,
        source,
        target,
        source_layer=-2,
        target_layer=2,
        target_norm=False,
        penalty=0.1,
        max_tokens=64,
        text={"name": "made up", "split": "fit"},
    )
    parts = load_stitch(tmp_path / "map", source, target)
    assert (parts.source.layer, parts.target.layer) == (3, 2)
    assert (parts.source.normed, parts.target.normed) == (True, False)
    np.testing.assert_array_equal(parts.map.kernel, affine.kernel)
    with pytest.raises(FingerprintError, match=r"the source of the map in .*map"):
        load_stitch(tmp_path / "map", target, source)


@pytest.mark.slow
def test_every_arm_writes_with_its_own_models(pebble, tmp_path):
    (source, tokenizer), (target, other) = pebble("llama"), pebble("qwen3")
    save_token_map(
        tmp_path / "map",
        random_map(source, target),
        source,
        target,
        penalty=0.1,
        max_tokens=64,
        text={"name": "made up", "split": "fit"},
    )
    parts = load_stitch(tmp_path / "map", source, target)
    control = random_map(source, target, seed=1)
    arms = arms_of(
        parts, alone(source, tokenizer), alone(target, other), {"random": control}
    )
    assert list(arms) == ["text", "native_source", "native_target", "random"]
    prompt, length = ["Return the"], {"max_new_tokens": 6}
    wanted = {
        "text": (parts, tokenizer, other),
        "native_source": (native(source), tokenizer, tokenizer),
        "native_target": (native(target), other, other),
        "random": (parts.replace(map=control), tokenizer, other),
    }
    for name, arm in wanted.items():
        (expected,) = generate(*arm, prompt, **length)
        (found,) = arms[name].write(prompt, **length)
        assert found.tokens == expected.tokens, name
