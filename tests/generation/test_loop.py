"""The host's loop: guesses are learnt, nothing is compiled twice, nothing is lost."""

import importlib
import re

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from helix_jax.generation import generate, loop
from helix_jax.generation.guesses import (
    LESSONS,
    count_failures,
    feeder,
    learn,
    lesson_table,
    make_guesses,
    native_guesses,
)
from helix_jax.generation.reading import make_reader

from .conftest import wild
from .slow import slow_generate

generating = importlib.import_module("helix_jax.generation.generate")
PROMPTS = ["Once upon a time", "The mean of the array", "def f(x):"]


@pytest.fixture
def fresh():
    """Tokenizers are read anew, with nothing learnt."""
    generating.reader_tables.cache_clear()


@pytest.fixture(scope="module")
def guesses(pebble):
    reader = make_reader(pebble("neox")[1], pebble("llama")[1], native=False)
    return make_guesses(reader, pebble("llama")[0].spec.vocab_size)


def test_a_lesson_is_what_differs(guesses):
    learn(guesses, [7, 8, 9], 5, [7, 1, 2])
    assert guesses.taught[9, 5] == (2, (1, 2))
    cached = [3, 8, 9]
    feeder(guesses, guesses.taught, {})(cached, 5)
    assert cached == [3, 1, 2]
    cached = [3, 8, 4]  # behind another token its bytes alone
    feeder(guesses, guesses.taught, {})(cached, 5)
    assert cached == [3, 8, 4, *guesses.alone[5]]
    table = lesson_table(guesses, {(9, 5): (2, (1, 2))})
    assert (table.last[0], table.token[0], table.back[0]) == (9, 5, 2)
    assert table.ids[0, : table.lengths[0]].tolist() == [1, 2]
    assert (table.last[1:] == -1).all()


def test_the_newest_lessons_are_kept(guesses):
    for last in range(LESSONS + 3):
        learn(guesses, [last], 5, [last, 1])
    assert len(guesses.taught) == LESSONS
    assert (2, 5) not in guesses.taught
    learn(guesses, [3], 5, [3, 2])
    assert list(guesses.taught)[-1] == (3, 5)
    assert guesses.taught[3, 5] == (0, (2,))


def test_the_risk_is_the_share_of_wrong_guesses():
    guesses = native_guesses(10)
    guesses.risk, guesses.seen = 1 / 16, 16
    for failed, chosen in ((0, 32), (3, 32), (0, 0)):
        count_failures(guesses, failed, chosen)
    assert guesses.risk == pytest.approx((1 + 3) / (16 + 64))


def test_native_guesses_learn_nothing():
    assert lesson_table(native_guesses(10), {}).last.size == 0


@pytest.mark.slow
def test_a_repair_comes_once(pebble, fresh):
    """The second run knows what the first had to learn, and writes the same."""
    (a, source), (b, target) = pebble("neox"), pebble("llama")
    first, second = (
        generate(wild(a, b), source, target, PROMPTS, max_new_tokens=24)
        for _ in range(2)
    )
    repairs = [sum(one.repairs for one in run) for run in (first, second)]
    assert repairs[1] <= repairs[0] // 2
    assert [one.tokens for one in first] == [one.tokens for one in second]


@pytest.mark.slow
def test_nothing_is_compiled_twice(pebble, fresh):
    (a, source), (b, target) = pebble("neox"), pebble("llama")
    parts = wild(a, b)
    programs = loop._begin, loop._refeed, loop._block

    def compiled(prompts, tokens):
        generate(parts, source, target, prompts, max_new_tokens=tokens)
        return [program._cache_size() for program in programs]

    before = compiled(["The mean of the array"], 20)
    assert compiled(["The mean of the array"], 30) == before
    assert compiled(["Return the sum of a list"], 35) == before


@pytest.mark.slow
def test_a_tokenizer_that_cannot_be_split_is_read_whole(pebble, fresh, monkeypatch):
    """It merges across words; were that not noticed first, it is in the end."""
    model, target = pebble("llama")
    vocabulary = {chr(byte): byte for byte in range(1, 127)}
    merges = [("e", " "), ("e ", "t"), ("e", "r"), (" ", "a"), ("s", " ")]
    vocabulary |= {a + b: 127 + n for n, (a, b) in enumerate(merges)}
    core = Tokenizer(models.BPE(vocabulary, merges, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    source = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="?")
    monkeypatch.setattr(generating, "check_vocabulary", lambda *_, **__: None)
    places = re.compile(r"[!-~](?= [A-Za-z])")
    monkeypatch.setattr("helix_jax.generation.reading._splits", lambda *_: places)
    parts = wild(model, model)
    prompts = ["are there some apples as there", "one two"]
    found = generate(parts, source, target, prompts, max_new_tokens=16)
    for row, (prompt, one) in enumerate(zip(prompts, found)):
        expected = slow_generate(
            parts, source, target, prompt, row=row, max_new_tokens=16
        )
        assert one.tokens == expected
    monkeypatch.undo()
    reader = make_reader(source, target, native=False)
    assert not reader.splits.search("one two")


@pytest.mark.slow
def test_a_token_without_bytes_changes_nothing(pebble, fresh, monkeypatch):
    """It adds nothing to the text, so the same logits choose it until the end."""
    model, tokenizer = pebble("llama")
    parts, sizes = wild(model, model), (model.spec.vocab_size,) * 2
    prompts, options = PROMPTS[:2], {"max_new_tokens": 40}
    usual = generate(parts, tokenizer, tokenizer, prompts, **options)
    empty = usual[0].tokens[0]
    reader, _ = generating.reader_tables(tokenizer, tokenizer, sizes, native=False)
    pieces = [b"" if n == empty else piece for n, piece in enumerate(reader.pieces)]
    reader = reader._replace(pieces=pieces)
    tables = reader, make_guesses(reader, sizes[1])
    monkeypatch.setattr(generating, "reader_tables", lambda *_, **__: tables)
    found = generate(parts, tokenizer, tokenizer, prompts, **options)
    assert found[0].tokens == [empty] * 40
    assert found[0].text == ""
    if empty not in usual[1].tokens:
        assert found[1].tokens == usual[1].tokens
