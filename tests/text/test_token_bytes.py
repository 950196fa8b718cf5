"""Tokens' bytes, joined, are the text's."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

from helix_jax.text.token_bytes import token_bytes
from tests.text.tokenizers import join_pieces

from .tokenizers import (
    EMBEDDED,
    REAL,
    characters,
    gemma_like,
    get_tokenizer,
    metaspace,
    prefixed_bytes,
    wordpiece,
)

SPACES = st.text(st.sampled_from(" \t\n\r\u00a0\u3000"), max_size=30)
WORDS = st.sampled_from(
    "the Don't naïve e\u0301 漢字かな 😀👩‍👧 12,345.67 <0x41> Ġ é ##s".split()
)
TEXTS = st.lists(st.one_of(SPACES, WORDS, st.text(max_size=8)), max_size=8).map("".join)


def ids_of(tokenizer, text):
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    return backend.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("name", [*EMBEDDED, *REAL])
def test_joined_pieces_are_the_text(name, request):
    shared = None if name in EMBEDDED else request.getfixturevalue("shared")
    tokenizer = get_tokenizer(name, shared)
    table = token_bytes(tokenizer)
    known = {piece.decode(errors="replace") for piece in table.pieces if piece}

    @settings(max_examples=150, deadline=None)
    @given(TEXTS)
    def joined_is_text(text):
        text = text.replace("\u2581", "_")
        if "Unicode forms (NFC)" in table.loses:
            text = unicodedata.normalize("NFC", text)
        if "characters outside the vocabulary" in table.loses:
            text = "".join(character for character in text if character in known)
        assert join_pieces(table, ids_of(tokenizer, text)) == text.encode()

    joined_is_text()


@pytest.mark.parametrize(
    ("name", "dummy", "loses"),
    [
        ("pebble-llama", False, ()),
        ("tokenizers/gpt2", False, ()),
        ("tokenizers/qwen2.5", False, ("Unicode forms (NFC)",)),
        ("tokenizers/gpt-neox-20b_pythia", False, ("Unicode forms (NFC)",)),
        ("tokenizers/llama2", True, ()),
        ("tokenizers/mistral/tokenizer.model.v1", True, ()),
        ("models/stories260K", True, ()),
        ("models/babyllama-tok361", True, ()),
        ("models/babyllama-tok105", True, ("characters outside the vocabulary",)),
    ],
)
def test_facts_of_real_tokenizers(name, dummy, loses, shared):
    tokenizer = get_tokenizer(name, shared)
    table = token_bytes(tokenizer)
    assert (table.dummy_space, table.loses) == (dummy, loses)
    assert table.lossless == (not loses)
    assert len(table.pieces) == len(tokenizer)
    special = {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    assert {i for i, piece in enumerate(table.pieces) if piece is None} == special


@pytest.mark.parametrize("name", [*EMBEDDED, *REAL])
def test_byte_ids_spell_an_unfinished_character(name, request):
    shared = None if name in EMBEDDED else request.getfixturevalue("shared")
    table = token_bytes(get_tokenizer(name, shared))
    for byte, index in enumerate(table.byte_ids):
        assert index < 0 or table.pieces[index] == bytes([byte])
    if "characters outside the vocabulary" not in table.loses:
        ids = table.byte_ids[np.frombuffer("😀漢é".encode(), np.uint8)]
        assert b"".join(table.pieces[i] for i in ids).decode() == "😀漢é"


def test_ordinary_token_goes_before_its_fallback(shared):
    tokenizer = get_tokenizer("models/stories260K", shared)
    table = token_bytes(tokenizer)
    assert tokenizer.convert_ids_to_tokens(int(table.byte_ids[ord("e")])) == "e"
    assert tokenizer.convert_ids_to_tokens(int(table.byte_ids[ord(" ")])) == "\u2581"
    assert tokenizer.convert_ids_to_tokens(int(table.byte_ids[0x80])) == "<0x80>"


def test_a_token_of_the_vocabulary_goes_before_its_fallback_of_a_lower_id():
    core = gemma_like()
    ids = token_bytes(core).byte_ids
    for byte, token in ((b"a", "a"), (b" ", "\u2581"), (b"c", "<0x63>")):
        assert core.id_to_token(int(ids[byte[0]])) == token


@pytest.mark.parametrize(
    ("core", "dummy", "loses"),
    [
        (metaspace("always"), True, ("a space at the start",)),
        (metaspace("first"), True, ("a space at the start",)),
        (metaspace("never"), False, ()),
        (gemma_like(), False, ()),
        (prefixed_bytes(), True, ("a space at the start",)),
    ],
)
def test_small_tokenizers(core, dummy, loses):
    table = token_bytes(core)
    assert (table.dummy_space, table.loses) == (dummy, loses)

    @settings(max_examples=100, deadline=None)
    @given(TEXTS)
    def joined_is_text(text):
        text = text.replace("\u2581", "_")
        joined = join_pieces(table, ids_of(core, text))
        assert joined == (text.removeprefix(" ") if loses else text).encode()

    joined_is_text()


def test_wordpiece_begins_words_with_a_space():
    core = wordpiece()
    table = token_bytes(core)
    assert table.pieces[:4] == [None, b" the", b" cat", b"s"]
    assert table.dummy_space
    assert "white space" in table.loses
    assert join_pieces(table, ids_of(core, "The  CATS")) == b"the cats"


def test_tokens_without_decoder_are_what_they_say():
    core = characters()
    table = token_bytes(core)
    assert join_pieces(table, ids_of(core, "a é漢b")) == "a é漢b".encode()
    assert table.loses == ("characters outside the vocabulary",)


def test_added_tokens_holes_and_specials():
    core = Tokenizer(models.BPE({"a": 0, "b": 1, "c": 7}, [], unk_token="b"))
    core.decoder = decoders.ByteLevel()
    core.add_tokens([AddedToken("é  ", rstrip=True), AddedToken("\u0120x")])
    core.add_special_tokens(["<s>"])
    table = token_bytes(core)
    # An added token is found in the text as it stands: \u0120 is no space there.
    index = core.token_to_id("\u0120x")
    assert table.pieces[index] == "\u0120x".encode()
    assert table.pieces[core.token_to_id("é  ")] == "é  ".encode()
    assert table.pieces[core.token_to_id("<s>")] is None
    assert table.pieces[0:3] == [b"a", None, None]  # 1 is the unknown token, 2 unused
    assert table.pieces[6:] == [None, b"c"]
    assert "white space beside added tokens" in table.loses


def test_unknown_token_of_unigram_and_symbols_behind_prepend():
    core = Tokenizer(models.Unigram([("?", 0.0), ("\u2581", -1.0), ("a", -1.0)], 0))
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    core.decoder = decoders.Replace("\u2581", " ")
    assert token_bytes(core).pieces == [None, b" ", b"a"]
    assert "white space beside added tokens" not in token_bytes(core).loses
    core.add_tokens([AddedToken("<sep>", normalized=False)])
    table = token_bytes(core)
    assert join_pieces(table, ids_of(core, "a<sep>a")) == b"a<sep> a"
    assert "white space beside added tokens" in table.loses


def test_unknown_decoder_and_slow_tokenizer():
    core = Tokenizer(models.BPE({"a": 0}, []))
    core.decoder = decoders.CTC()
    with pytest.raises(ValueError, match=r'decoder step .*"CTC".* is not known'):
        token_bytes(core)
    with pytest.raises(ValueError, match="object has no fast backend"):
        token_bytes(object())
