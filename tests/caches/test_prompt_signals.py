"""What is known of a prompt, where source and target are one model: exact twins."""

import jax
import numpy as np
import pytest

from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.caches import (
    PromptShape,
    cache_form,
    cache_side,
    identity_map,
    make_prompts,
    read_cache_moments,
)
from helix_jax.caches.prompt_confidence import calibrate_layers, layer_directions
from helix_jax.caches.prompt_signals import CHECK, CHECKED, FREE, read_signals
from helix_jax.models import apply_model
from helix_jax.text.docstrings import read_docstrings
from helix_jax.text.hashing import document_of

pytestmark = pytest.mark.slow  # its fixtures take seconds

LONG = [text for text in read_docstrings() if len(text.text) > 300]
# One of each document, as halves of a calibration are of documents.
TEXTS = list({document_of(text.id): text for text in LONG}.values())[:48]
SHAPE = PromptShape(32, 8)


@pytest.fixture(scope="module")
def same(pebble):
    """A model as its own source: model, map, prompts and confidences."""
    model, tokenizer = pebble("llama")
    cache_map = identity_map(*[cache_form(model.spec)] * 2)
    side = cache_side(model, tokenizer)
    pairs = TokenPairs(side, side, lambda: TEXTS[:16], max_tokens=40, block_rows=256)
    directions = layer_directions(read_cache_moments(pairs, limit=600), cache_map)
    select, test = (
        make_prompts(texts, (tokenizer,) * 2, SHAPE, count=8)
        for texts in (TEXTS[16:32], TEXTS[32:])
    )
    models = (model, model)
    found = calibrate_layers(directions, cache_map, models, select, batch=4)
    return model, cache_map, directions, test, found


def signals_of(same, prompts):
    model, cache_map, _, _, found = same
    return read_signals((model, model), prompts, cache_map, found, batch=3)


def test_signals_are_those_of_a_model_that_reads_the_whole_prompt(same):
    model, _, _, test, _ = same
    found = signals_of(same, test)
    assert set(found) == {*FREE, CHECK}
    logits = apply_model(model.params, model.spec, test.target, logits=True).logits
    log_p = np.asarray(jax.nn.log_softmax(logits), float)
    lost = -np.take_along_axis(log_p[:, :-1], test.target[:, 1:, None], -1)[..., 0]
    np.testing.assert_allclose(found["source_nats"], lost.mean(axis=1), rtol=1e-4)
    checked = lost[:, -(CHECKED + SHAPE.closing - 1) :].mean(axis=1)
    np.testing.assert_allclose(found[CHECK], checked, rtol=1e-3)
    entropy = -(np.exp(log_p[:, -1]) * log_p[:, -1]).sum(axis=-1)
    np.testing.assert_allclose(found["entropy_nats"], entropy, rtol=1e-3)
    assert (found["source_tokens"] == SHAPE.prompt).all()


def test_a_map_without_loss_is_confident_and_text_without_sense_is_outside(same):
    _, _, _, test, _ = same
    found = signals_of(same, test)
    assert found["predicted_cosine"].min() > 0.999
    drawn = np.random.default_rng(0).integers(5, 400, test.source.shape)
    odd = signals_of(same, test._replace(source=drawn.astype(np.int32)))
    assert odd["outside"].mean() > 1.5 * found["outside"].mean()
    assert odd["source_nats"].mean() > found["source_nats"].mean() + 1


def test_few_documents_give_no_confidence_and_the_other_signals(same):
    model, cache_map, directions, test, _ = same
    models = (model, model)
    one = test.rows([0])
    assert calibrate_layers(directions, cache_map, models, one, batch=1) is None
    found = read_signals(models, one, cache_map, None, batch=1)
    assert set(found) == {"source_nats", "source_tokens", "entropy_nats", CHECK}
