"""Streamed token pairs: the same states as a forward pass of each text by itself."""

import jax
import numpy as np
import pytest

from helix_jax import assets
from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.activations.token_states import layer_side
from helix_jax.alignment import accumulate, fit_ridge, from_batch, ridge_at
from helix_jax.errors import CorpusError
from helix_jax.models import apply_model, load_model, load_tokenizer
from helix_jax.types import Text

from .made import make_model, make_texts, make_tokenizer

forward = jax.jit(apply_model, static_argnames=("spec", "layers", "final_norm"))


def by_hand(model, tokenizer, text, layers, normed, max_tokens):
    """Alone in its batch, padded so that texts of many lengths compile once."""
    ids = tokenizer(text)["input_ids"][:max_tokens]
    padded = np.pad(ids, (0, -len(ids) % 16))[None]
    mask = np.arange(padded.size)[None] < len(ids)
    output = forward(
        model.params, model.spec, padded, mask, layers=layers, final_norm=normed
    )
    return np.asarray(output.hidden)[:, 0, : len(ids)], ids


@pytest.fixture(scope="module")
def sides():
    tokenizer = make_tokenizer()
    first, second = make_model(seed=0), make_model(seed=1)
    x = layer_side(first, tokenizer, layers=(0, -1), normed=False)
    y = layer_side(second, tokenizer)
    return first, second, tokenizer, x, y


@pytest.mark.slow
def test_blocks_are_the_states_of_each_text(sides):
    first, second, tokenizer, x, y = sides
    texts = make_texts(40, longest=12)
    pairs = TokenPairs(
        x,
        y,
        lambda: iter(texts),
        max_tokens=10,
        block_rows=32,
        window_tokens=50,
        token_budget=16,
    )
    blocks = list(pairs)
    assert {len(block.text_ids) for block in blocks[:-1]} == {32}
    ids = np.concatenate([block.text_ids for block in blocks])
    got_x = np.concatenate([block.x for block in blocks], axis=1)
    got_y = np.concatenate([block.y for block in blocks], axis=1)
    following = np.concatenate([block.next_y for block in blocks])
    ends = np.concatenate([block.end_x for block in blocks])
    start = 0
    for text in texts:
        want_x, own = by_hand(first, tokenizer, text.text, (0, -1), False, 10)
        want_y, _ = by_hand(second, tokenizer, text.text, (-1,), True, 10)
        rows = slice(start, start + len(own))
        assert set(ids[rows]) == {text.id}
        np.testing.assert_allclose(got_x[:, rows], want_x, atol=1e-4)
        np.testing.assert_allclose(got_y[:, rows], want_y, atol=1e-4)
        assert following[rows].tolist() == [*own[1:], -1]
        assert ends[rows][0] == 0
        assert (np.diff(ends[rows]) > 0).all()
        start += len(own)
    assert start == len(ids)


@pytest.mark.slow
def test_the_stream_is_read_again_and_feeds_moments(sides):
    _, _, _, x, y = sides
    texts = make_texts(300, longest=12)
    pairs = TokenPairs(x, y, lambda: iter(texts), block_rows=100, window_tokens=200)
    rows_x, rows_y = pairs.read(10**9, x=1)
    streamed, whole = accumulate(pairs.rows(x=1)), from_batch(rows_x, rows_y)
    np.testing.assert_allclose(streamed.cov_xy, whole.cov_xy, atol=1e-5)
    assert int(streamed.count) == len(rows_x) > 1000
    assert bool(ridge_at(fit_ridge(streamed, penalties=1e-3), 0).ok)
    assert len(pairs.read(150, x=1)[0]) == 150


def test_two_tokenizers_are_paired_by_ends():
    models = {
        name: load_model(str(assets.model_path(name)))
        for name in ("pebble-neox", "pebble-llama")
    }
    sides = [
        layer_side(model, load_tokenizer(str(assets.model_path(name))))
        for name, model in models.items()
    ]
    texts = [
        Text("a", "Returns the eigenvalues of a Hermitian matrix."),
        Text("b", "Ünïcode naïveté: 数学 and café."),
    ]
    for exact in (False, True):
        blocks = list(TokenPairs(*sides, lambda: iter(texts), exact=exact))
        block = blocks[0]
        assert len(blocks) == 1
        assert block.x.shape[-1] == 144
        assert block.y.shape[-1] == 128
        if exact:
            assert (block.end_x == block.end_y).all()
        else:
            assert (block.end_x >= block.end_y).all()
    model, tokenizer = models["pebble-neox"], sides[0].tokenizer
    want, _ = by_hand(model, tokenizer, texts[1].text, (-1,), True, 256)
    own = block.text_ids == "b"
    np.testing.assert_allclose(
        block.x[0, own], want[0, block.position_x[own]], atol=1e-3
    )


def test_nothing_follows_the_last_token_of_a_text(sides):
    """Not the first of the next text either, where no special token is between."""
    bare = make_tokenizer(begins=False)
    x, y = (layer_side(model, bare) for model in sides[:2])
    texts = make_texts(9, longest=6)
    (block,) = TokenPairs(x, y, lambda: iter(texts), window_tokens=4096)
    start = 0
    for text in texts:
        own = bare(text.text)["input_ids"]
        rows = slice(start, start + len(own))
        for following in (block.next_x, block.next_y):
            assert following[rows].tolist() == [*own[1:], -1]
        assert (block.next_end_x[rows][:-1] == block.end_x[rows][1:]).all()
        start += len(own)
    assert start == len(block.text_ids)


def test_what_does_not_fit_is_refused(sides):
    _, _, tokenizer, x, y = sides
    with pytest.raises(CorpusError, match="no pair"):
        TokenPairs(x, y, lambda: iter([Text("a", "  ")])).read(5)
    small = layer_side(make_model(vocab_size=30), tokenizer)
    with pytest.raises(CorpusError, match="embeds 30"):
        list(TokenPairs(small, small, lambda: iter(make_texts(20))))
