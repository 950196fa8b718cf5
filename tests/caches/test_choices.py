"""Questions are cut so that every ending is one token behind the prompt."""

import numpy as np
import pytest

from helix_jax.caches import cache_form, identity_map, make_choices
from helix_jax.caches.arms import answer_choices
from helix_jax.caches.choices import choice_numbers
from helix_jax.errors import CorpusError
from helix_jax.text.docstrings import read_docstrings

QUESTION = "\nThis is about"
ENDINGS = (" array", " model", " file")


@pytest.fixture(scope="module")
def texts():
    long = [text for text in read_docstrings() if len(text.text) > 200][:60]
    return [text._replace(label=number % 3) for number, text in enumerate(long)]


@pytest.mark.slow
def test_an_arm_of_the_models_own_cache_chooses_as_the_model(pebble, texts):
    model, tokenizer = pebble("llama")
    tokenizers = (tokenizer, tokenizer)
    settings = {"question": QUESTION, "endings": ENDINGS, "tokens": 24, "count": 7}
    choices = make_choices(texts, tokenizers, **settings)
    assert len(choices.answers) == 7
    for row in choices.prompts.target:
        assert tokenizer.decode(row).endswith(QUESTION)
    labels = {text.id: text.label for text in texts}
    assert choices.answers.tolist() == [labels[name] for name in choices.prompts.ids]
    same = identity_map(*[cache_form(model.spec)] * 2)
    right = answer_choices(
        (model, model), tokenizer, choices, {"same": same}, shuffled="same", batch=4
    )
    np.testing.assert_array_equal(right["same"], right["native"])
    numbers = choice_numbers(right, choices, resamples=20)
    assert numbers["caches/choice_accuracy_native"].value == right["native"].mean()
    assert numbers["caches/choice_accuracy_commonest"] >= 1 / 3
    assert numbers["caches/questions"] == 7


def test_endings_that_begin_alike_are_refused(pebble, texts):
    tokenizers = (pebble("llama")[1],) * 2
    settings = {"question": QUESTION, "tokens": 24, "count": 7}
    with pytest.raises(CorpusError, match="begin with different tokens"):
        make_choices(texts, tokenizers, endings=(" array", " array b"), **settings)
    with pytest.raises(CorpusError, match="0 of the texts have"):
        make_choices(texts[:0], tokenizers, endings=ENDINGS, **settings)
