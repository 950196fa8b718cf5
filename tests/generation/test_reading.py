"""A reading, extended piece by piece, is that of the whole text encoded anew."""

import itertools
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from helix_jax.generation.reading import (
    append_bytes,
    extend,
    make_reader,
    open_reading,
    read_whole,
)

from ..conftest import cases
from .slow import source_ids, split_bytes

TEXT = (
    "Hello there, it's 3 o'clock — the naïve 日本 🙂 said:  \n\n  go. \t<|endoftext|> x"
)
PROMPTS = ["Once upon", "  it's", "é\n\n", " x", "</s> a"]
NAMES = [
    "stories260K",
    "babyllama-tok361",
    "babyllama-tok105",
    "pebble-llama",
    "pebble-neox",
    "gpt2",
    "gpt-neox-20b_pythia",
]
LARGE = NAMES[-2:]


@pytest.fixture(scope="module")
def tokenizer(pebble, pretrained, shared):
    def load(name):
        if name.startswith("pebble-"):
            return pebble(name.removeprefix("pebble-"))[1]
        file = Path(shared) / "tokenizers" / name / "tokenizer.json"
        if file.exists():
            return PreTrainedTokenizerFast(tokenizer_file=str(file))
        return pretrained(name)[1]

    return load


# Every source with one of the targets, and some with all.
TARGETS = ["pebble-llama", "stories260K", "gpt2"]
FIRST = [(source, TARGETS[place % 3]) for place, source in enumerate(NAMES)]
REST = [pair for pair in itertools.product(NAMES, TARGETS) if pair not in FIRST]
SMALL = [pair for pair in REST if set(pair).isdisjoint(LARGE)]
MORE = [pair for pair in REST if pair not in SMALL]


@pytest.mark.parametrize(("source", "target"), cases(FIRST + SMALL, *MORE))
@pytest.mark.slow
def test_extended_equals_whole(tokenizer, source, target):
    source, target = tokenizer(source), tokenizer(target)
    reader = make_reader(source, target, native=False)
    assert reader.splits
    rng = random.Random(0)
    words = target(TEXT, add_special_tokens=False)["input_ids"]
    prefix = tuple(source_ids(source, b""))
    for trial, prompt in enumerate(PROMPTS):
        reading = open_reading(reader, prefix, prompt, behind=False)
        data = prompt.encode()
        for _ in range(40):
            token = (
                rng.choice(words) if trial % 2 else rng.randrange(len(reader.pieces))
            )
            reading = extend(reader, reading, token)
            data += reader.pieces[token] or b""
            assert reading.ids == read_whole(reader, reading)
            assert reading.ids == source_ids(source, data)
        assert (reading.text, reading.pending) == split_bytes(data)


def test_most_of_a_text_is_kept(tokenizer):
    source = tokenizer("pebble-neox")
    reader = make_reader(source, source, native=False)
    for text in ("the cat sat on the mat ", "x`x`x`", "image_tu_tu_tu", "a-b.c, "):
        reading = open_reading(reader, (0,), text * 20, behind=False)
        assert len(reading.ids) - reading.fixed < 8


def test_a_vocabulary_that_reaches_across_words_is_read_whole():
    vocabulary = {character: place for place, character in enumerate("abc def-+")}
    more = {"c ": 9, "c d": 10, "f-": 11}
    merges = [("c", " "), ("c ", "d"), ("f", "-")]
    core = Tokenizer(models.BPE(vocabulary | more, merges))
    core.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    own = PreTrainedTokenizerFast(tokenizer_object=core)
    reader = make_reader(own, own, native=False)
    assert not any(map(reader.splits.search, ("abc def", "abc-def")))
    assert reader.splits.search("abc+def")
    reading = open_reading(reader, (), "abc def-", behind=False)
    assert {10, 11} <= set(reading.ids)


def test_bytes_become_characters_when_they_can():
    assert append_bytes(b"", "é".encode()[:1]) == ("", b"\xc3")
    assert append_bytes(b"\xc3", b"\xa9x") == ("éx", b"")
    assert append_bytes(b"\xc3", b"x") == ("\ufffdx", b"")
    assert append_bytes(b"", b"\xff\xf0\x9f\x99") == ("\ufffd", b"\xf0\x9f\x99")
    assert append_bytes(b"\xe2\x80", b"\xe2\x80") == ("\ufffd", b"\xe2\x80")
