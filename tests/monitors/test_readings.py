"""Readings, steering and ablation against the models run plainly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax import assets
from helix_jax.alignment import apply_map
from helix_jax.errors import CorpusError
from helix_jax.generation import Sampling, generate_ids, native
from helix_jax.models import apply_model, load_model
from helix_jax.monitors import (
    ClassTokens,
    Passages,
    ablation,
    at_ends,
    cut_passages,
    dosed,
    edited,
    place_of,
    read_edits,
    read_text_states,
    shift_by,
    telling_tokens,
    write_edited,
)
from helix_jax.types import Text

RNG = np.random.default_rng(0)
IDS = [RNG.integers(5, 500, size=n).tolist() for n in (9, 20, 5, 33)]
WORDS = ClassTokens(np.array([7, 8, 9]), np.array([20, 21, 22]))
PASSAGES = Passages(
    IDS,
    np.array([[3, 8], [10, 19], [0, 4], [31, 32]]),
    RNG.integers(5, 500, size=(4, 2)),
)


forward = jax.jit(apply_model, static_argnames=("spec", "logits"))


def plain_logits(model, ids):
    """[T, V] logits of one text."""
    padded = np.pad(ids, (0, -len(ids) % 48))[None]  # many lengths compile once
    mask = np.arange(padded.size)[None] < len(ids)
    output = forward(model.params, model.spec, padded, mask, logits=True)
    return np.asarray(output.logits)[0, : len(ids)]


def by_hand(logits, passages, row):
    places = passages.places[row]
    logs = jax.nn.log_softmax(logits[places])
    odds = [jax.nn.logsumexp(logs[:, side], axis=-1) for side in WORDS]
    nats = -logs[np.arange(len(places)), passages.following[row]]
    return np.asarray(odds[0] - odds[1]), np.asarray(nats)


@pytest.mark.parametrize("layer", [0, 2, -1])
def test_no_shift_reads_what_the_model_says(pebble, layer):
    model, _ = pebble("neox")
    still = shift_by(np.zeros(model.spec.width))
    found = read_edits(model, layer, [still, still], PASSAGES, WORDS)
    for row, ids in enumerate(IDS):
        odds, nats = by_hand(plain_logits(model, ids), PASSAGES, row)
        for arm in range(2):
            np.testing.assert_allclose(found.log_odds[arm, row], odds, atol=1e-3)
            np.testing.assert_allclose(found.nats[arm, row], nats, atol=1e-3)


@pytest.mark.slow
def test_a_shift_reaches_what_is_read_and_written_alike(pebble):
    model, _ = pebble("llama")
    shifts = RNG.normal(size=(2, model.spec.width)).astype(np.float32)
    edits, asked = [shift_by(shift) for shift in shifts], at_ends(IDS)
    found = read_edits(model, 2, edits, asked, WORDS)
    assert np.abs(found.log_odds[0] - found.log_odds[1]).max() > 0.01
    for arm, edit in enumerate(edits):
        alone = read_edits(model, 2, [edit], at_ends(IDS[1:2]), WORDS)
        np.testing.assert_allclose(
            found.log_odds[arm, 1], alone.log_odds[0, 0], atol=1e-3
        )
        # Greedy decoding takes what the readings call likeliest.
        written = generate_ids(edited(model, 2, edit), IDS, max_new_tokens=1)
        chosen = np.array([one.tokens for one in written])
        best, other = (
            read_edits(model, 2, [edit], asked._replace(following=follow), WORDS).nats
            for follow in (chosen, chosen - 1)
        )
        assert (best < other).all()


def test_ablation_leaves_nothing_but_the_mean_along_what_is_taken():
    directions, mean = RNG.normal(size=(2, 12)), RNG.normal(size=12)
    x = RNG.normal(size=(50, 12)).astype(np.float32)
    edit = ablation(directions, mean)
    y = np.asarray(apply_map(edit, x))
    wanted = np.tile(directions @ mean, (50, 1))
    np.testing.assert_allclose(y @ directions.T, wanted, atol=1e-4)
    np.testing.assert_allclose(apply_map(edit, y), y, atol=1e-5)
    _, _, basis = np.linalg.svd(directions)
    np.testing.assert_allclose(y @ basis[2:].T, x @ basis[2:].T, atol=1e-4)
    twice = ablation([directions[0], 2 * directions[0]], mean)
    once = ablation([directions[0]], mean)
    np.testing.assert_allclose(apply_map(twice, x), apply_map(once, x), atol=1e-5)


def test_a_dose_is_a_share_of_a_states_length():
    added = dosed(np.array([3.0, 4.0]), 50.0, 0.2)
    np.testing.assert_allclose(added, [6, 8])
    with pytest.raises(ValueError, match="has no direction"):
        dosed(np.zeros(3), 1.0, 0.2)


def test_states_of_a_text_are_means_without_the_first_token(pebble):
    model, tokenizer = pebble("llama")
    texts = [Text("a", "return the mean of all rows"), Text("b", "x")]
    found = read_text_states(model, tokenizer, texts, (1, -1), max_tokens=32)
    lengths = []
    for row, text in enumerate(texts):
        ids = tokenizer(text.text)["input_ids"]
        hidden = apply_model(
            model.params,
            model.spec,
            jnp.asarray([ids]),
            layers=(1, -1),
            final_norm=False,
        ).hidden[:, 0]
        kept = np.asarray(hidden)[:, min(1, len(ids) - 1) :]
        np.testing.assert_allclose(found.rows[:, row], kept.mean(1), atol=1e-3)
        lengths.append(np.linalg.norm(kept, axis=-1))
    wanted = np.median(np.concatenate(lengths, axis=1), axis=1)
    np.testing.assert_allclose(found.scale, wanted, rtol=1e-4)


@pytest.mark.slow
def test_writing_under_no_edit_is_the_models_own_and_steering_changes_it(pebble):
    model, tokenizer = pebble("llama")
    prompts = [
        tokenizer("Returns the")["input_ids"],
        tokenizer("An array")["input_ids"],
    ]
    key, nothing = jax.random.key(3), np.zeros(model.spec.width)
    settings = {"max_new_tokens": 5, "key": key}
    written = write_edited(model, tokenizer, 2, shift_by(nothing), prompts, **settings)
    own = generate_ids(
        native(model),
        prompts,
        sampling=Sampling(1.0, top_p=0.9),
        suppressed=tokenizer.all_special_ids,
        **settings,
    )
    assert written == tokenizer.batch_decode([one.tokens for one in own])
    push = 100 * RNG.normal(size=model.spec.width)
    pushed = write_edited(model, tokenizer, 2, shift_by(push), prompts, **settings)
    assert pushed != written


def test_telling_tokens_are_the_planted_ones():
    rng = np.random.default_rng(1)
    labels = rng.integers(2, size=300)
    ids = [[*rng.integers(10, 60, size=12), 3 if label else 4, 5] for label in labels]
    found = telling_tokens(ids, labels, vocabulary=60, count=1)
    assert found.of_class.tolist() == [3]
    assert found.of_rest.tolist() == [4]
    with pytest.raises(ValueError, match="at least 2 classes"):
        telling_tokens(ids, labels * 0, vocabulary=60)
    with pytest.raises(ValueError, match="0 to 49, got"):
        telling_tokens(ids, labels, vocabulary=50)
    with pytest.raises(ValueError, match="lean to each side"):
        telling_tokens(ids, labels, vocabulary=60, count=50)


def test_passages_are_of_one_length_and_asked_in_their_later_half():
    found, places = cut_passages(IDS, tokens=8, places=3)
    assert places.tolist() == [0, 1, 3]
    assert [len(own) for own in found.ids] == [8, 8, 8]
    assert found.places.min() >= 4
    for row, place in enumerate(places):
        wanted = [IDS[place][at + 1] for at in found.places[row]]
        assert found.following[row].tolist() == wanted
    with pytest.raises(CorpusError, match="1 of 4 texts have more than 30 tokens"):
        cut_passages(IDS, tokens=30, places=1)


def test_what_cannot_be_steered_is_refused_by_name(pebble):
    model, _ = pebble("llama")
    still = shift_by(np.zeros(model.spec.width))
    with pytest.raises(ValueError, match="layers must be from -5 to 4"):
        edited(model, 9, still)
    with pytest.raises(ValueError, match="layers must be from -5 to 4"):
        place_of(model, 9)
    with pytest.raises(ValueError, match="needs width 128, got 3"):
        edited(model, 2, shift_by(np.zeros(3)))
    with pytest.raises(ValueError, match="one edit or more"):
        read_edits(model, 2, [], PASSAGES, WORDS)
    encoder = assets.installed_encoder()
    if encoder:
        with pytest.raises(ValueError, match="encoder; generation needs a decoder"):
            edited(load_model(encoder), 2, shift_by(np.zeros(384)))
