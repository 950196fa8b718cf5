"""Prompts in the tokens of two models: what stands for what, and what is cut."""

import numpy as np
import pytest

from helix_jax.caches import PromptShape, make_prompts, token_places
from helix_jax.errors import CorpusError
from helix_jax.text.docstrings import read_docstrings
from helix_jax.text.tokens import encode_texts, private_tokenizer
from helix_jax.types import Text

STRANGE = "Zürich - 東京 🙂 naïve\n\n  x"


@pytest.fixture(scope="module")
def texts():
    return [text for text in read_docstrings() if len(text.text) > 400][:20]


def ends_of(tokenizer, texts):
    return encode_texts(
        private_tokenizer(tokenizer, max_tokens=10_000), texts, with_ends=True
    ).ends


def brute_places(x_ends, y_ends, rule):
    found = []
    for end in y_ends:
        if rule == "after":
            behind = [e for e in x_ends if e >= end]
            wanted = min(behind) if behind else max(x_ends)
        else:
            before = [e for e in x_ends if 0 < e <= end]
            wanted = max(before) if before else None
        if wanted is None:
            found.append(next(i for i, e in enumerate(x_ends) if e > 0))
        else:
            found.append(max(i for i, e in enumerate(x_ends) if e == wanted))
    return found


@pytest.mark.parametrize("rule", ["after", "before"])
def test_places_are_those_found_one_by_one(pebble, rule, texts):
    x, y = (pebble(name)[1] for name in ("llama", "neox"))
    read = [STRANGE, *(text.text for text in texts[:5])]
    differ = 0
    for x_ends, y_ends in zip(ends_of(x, read), ends_of(y, read)):
        y_ends = y_ends[1:]  # without the beginning of text
        x_ends = x_ends[: len(x_ends) // 2]  # cut shorter: what is behind falls back
        found = token_places(x_ends, y_ends, rule=rule)
        assert found.tolist() == brute_places(x_ends.tolist(), y_ends.tolist(), rule)
        differ += np.count_nonzero(x_ends[found] != y_ends)
    assert differ > 20


def test_a_prompt_and_its_continuation_are_the_text(pebble, texts):
    x, y = (pebble(name)[1] for name in ("llama", "neox"))
    shape = PromptShape(30, 20, opening=3, closing=2)
    prompts = make_prompts(texts, (x, y), shape, count=6)
    by_id = {text.id: text.text for text in texts}
    assert prompts.opening == 4  # with the beginning of text
    assert prompts.places.shape == (6, 30 - 4 - 2)
    for row, name in enumerate(prompts.ids):
        prompt = y.decode(prompts.target[row], skip_special_tokens=True)
        following = y.decode(prompts.continuation[row])
        assert by_id[name].startswith(prompt + following)
        assert prompts.characters[row] == len(following)
        read = x.decode(prompts.source[row][prompts.source_mask[row]][1:])
        assert prompt.startswith(read)  # and no character of what follows
        assert len(prompt) - len(read) < 12
        assert prompts.places[row].max() < prompts.source_mask[row].sum()


def test_of_one_tokenizer_the_same_places_stand_for_each_other(pebble, texts):
    tokenizer = pebble("llama")[1]
    prompts = make_prompts(texts, (tokenizer,) * 2, PromptShape(24, 8), count=3)
    mine = prompts.opening
    assert (prompts.places == np.arange(mine, 23)).all()
    assert (prompts.source[:, :24] == prompts.target).all()


def test_what_cannot_be_cut_is_refused(pebble):
    tokenizer = pebble("llama")[1]
    with pytest.raises(ValueError, match="a prompt of 5 tokens has none between"):
        PromptShape(5, 8, opening=4)
    with pytest.raises(ValueError, match="closing and continuation need to be 1"):
        PromptShape(50, 8, closing=0)
    with pytest.raises(ValueError, match="rule must be of"):
        PromptShape(50, 8, rule="nearest")
    short = [Text("a", "too short"), Text("b", "x" * 90)]
    with pytest.raises(CorpusError, match="have the 80 tokens of a prompt"):
        make_prompts(short, (tokenizer,) * 2, PromptShape(60, 20), count=2)
