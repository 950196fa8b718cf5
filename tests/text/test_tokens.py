import hashlib
import json

import numpy as np
import pytest
from tokenizers import AddedToken

from helix_jax.models import load_tokenizer
from helix_jax.text.tokens import (
    copy_backend,
    encode_texts,
    private_tokenizer,
    tokenizer_fingerprint,
)

from ..activations.made import make_texts, make_tokenizer

TEXTS = [text.text for text in make_texts(40)] + ["", " ", "é漢 cat", "cat " * 300]


def assert_like_transformers(tokenizer, texts, limit):
    encoded = encode_texts(private_tokenizer(tokenizer, max_tokens=limit), texts)
    want = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
    assert encoded.ids == want
    whole = tokenizer(texts)["input_ids"]
    assert encoded.truncated.tolist() == [len(ids) > limit for ids in whole]
    assert 0 < encoded.truncated.sum() < len(texts)


@pytest.mark.parametrize("limit", [4, 16, 200])
def test_equals_transformers(limit):
    assert_like_transformers(make_tokenizer(), TEXTS, limit)


def test_equals_transformers_on_real_text(real, real_texts):
    texts = [text.text for text in real_texts]
    assert_like_transformers(real[1], texts, 48)


def test_special_tokens_survive_truncation(minilm):
    _, tokenizer = minilm
    encoded = encode_texts(private_tokenizer(tokenizer, max_tokens=6), ["word " * 20])
    assert len(encoded.ids[0]) == 6
    assert encoded.ids[0][0] == tokenizer.cls_token_id
    assert encoded.ids[0][-1] == tokenizer.sep_token_id
    assert encoded.truncated.tolist() == [True]


def test_ends_are_character_offsets():
    text = "the cat é漢 runs"
    encoded = encode_texts(
        private_tokenizer(make_tokenizer(), max_tokens=64), [text], with_ends=True
    )
    ends = encoded.ends[0]
    assert ends[0] == -1  # <s>
    assert ends[-1] == len(text)
    assert (np.diff(ends) >= 0).all()
    assert ends.dtype == np.int32


def test_ends_that_nobody_asked_for_are_not_known():
    backend = private_tokenizer(make_tokenizer(), max_tokens=64)
    with_ends = encode_texts(backend, ["the cat"], with_ends=True)
    assert with_ends.known_ends is with_ends.ends
    with pytest.raises(ValueError, match="give encode_texts with_ends=True"):
        encode_texts(backend, ["the cat"]).known_ends  # noqa: B018  # it is refused


def test_callers_tokenizer_is_left_alone():
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.enable_padding(length=32)
    tokenizer.backend_tokenizer.enable_truncation(3)
    own = private_tokenizer(tokenizer, max_tokens=10)
    assert len(encode_texts(own, ["the cat"]).ids[0]) < 10
    assert tokenizer.backend_tokenizer.padding["length"] == 32
    assert tokenizer.backend_tokenizer.truncation["max_length"] == 3
    assert tokenizer_fingerprint(tokenizer) == tokenizer_fingerprint(make_tokenizer())


def test_fingerprint_tells_tokenizers_apart():
    assert tokenizer_fingerprint(make_tokenizer(80)) != tokenizer_fingerprint(
        make_tokenizer(96)
    )


def test_no_room_for_text():
    with pytest.raises(ValueError, match=r"exceed the tokenizer's 1 special .* got 1"):
        private_tokenizer(make_tokenizer(), max_tokens=1)


def test_slow_tokenizer():
    with pytest.raises(ValueError, match="has no fast backend"):
        private_tokenizer(object(), max_tokens=8)


def test_ends_count_white_space_that_was_read(shared):
    """This tokenizer leaves white space at the ends of a token out of its offsets."""
    folder = shared / "tokenizers" / "gpt-neox-20b_pythia"
    own = private_tokenizer(load_tokenizer(str(folder)), max_tokens=64)
    encoded = own.encode("aaa \n b")
    assert encoded.tokens == ["aaa", "\u0120\u010a", "\u0120b"]
    text = "aaa \n "
    assert encode_texts(own, [text], with_ends=True).ends[0][-1] == len(text)


def test_spelled_special_tokens_as_the_caller_reads_them():
    tokenizer, plain = make_tokenizer(), make_tokenizer()
    plain.backend_tokenizer.encode_special_tokens = True
    text = "a<s>b"
    for one in (tokenizer, plain):
        ids = encode_texts(private_tokenizer(one, max_tokens=64), [text]).ids[0]
        assert ids == one.backend_tokenizer.encode(text).ids
    assert tokenizer_fingerprint(tokenizer) != tokenizer_fingerprint(plain)


@pytest.mark.parametrize("name", ["gpt2", "llama2", "gpt-neox-20b_pythia"])
def test_a_copy_is_the_same_tokenizer(shared, name):
    backend = load_tokenizer(str(shared / "tokenizers" / name)).backend_tokenizer
    own = copy_backend(backend)
    assert own.to_str() == backend.to_str()
    own.add_tokens(["<new>"])
    own.normalizer = None
    assert backend.token_to_id("<new>") is None
    assert copy_backend(backend).to_str() == backend.to_str()


def test_a_copy_has_added_tokens_with_their_flags():
    tokenizer = make_tokenizer()
    flags = {"normalized": False, "lstrip": True, "single_word": True}
    tokenizer.add_tokens([AddedToken("cat", **flags), AddedToken("<x>", special=True)])
    backend = tokenizer.backend_tokenizer
    assert copy_backend(backend).to_str() == backend.to_str()


def test_fingerprint_is_that_of_the_json_as_it_stands():
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(3)
    for token in ("<one>", "<two>"):  # of the same object, changed
        tokenizer.add_tokens([token])
        record = json.loads(tokenizer.backend_tokenizer.to_str())
        record |= {"truncation": None, "padding": None}
        text = json.dumps(record, sort_keys=True, separators=(",", ":"))
        want = hashlib.sha256(text.encode()).hexdigest()[:16]
        assert tokenizer_fingerprint(tokenizer) == want
