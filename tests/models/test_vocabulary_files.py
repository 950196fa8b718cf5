"""Folders without tokenizer.json, against the tokenizer.json of the vocabulary."""

import json

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from helix_jax.errors import CheckpointError
from helix_jax.models import load_tokenizer

TEXTS = [
    "Hello World! 2024",
    "  a\n\nb ",
    "<|endoftext|>x",
    "\u00c9t\u00e9 \u6f22\U0001f600",
    "",
]
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "hello",
    "Hello",
    "world",
    "##ly",
    "\u00e9t\u00e9",
    "ete",
    "!",
    "\u6f22",
]


def beside(folder, name="tokenizer_config.json", **settings):
    (folder / name).write_text(json.dumps(settings))
    return str(folder)


@pytest.fixture(scope="module")
def gpt2(shared):
    return json.loads((shared / "tokenizers" / "gpt2" / "tokenizer.json").read_text())


@pytest.fixture
def folder(tmp_path, gpt2):
    """vocab.json and merges.txt of gpt2."""
    (tmp_path / "vocab.json").write_text(json.dumps(gpt2["model"]["vocab"]))
    merges = (m if isinstance(m, str) else " ".join(m) for m in gpt2["model"]["merges"])
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    return tmp_path


@pytest.mark.parametrize("begin", [None, False, True])
def test_vocabulary_and_merges(folder, shared, begin):
    twin = Tokenizer.from_file(str(shared / "tokenizers" / "gpt2" / "tokenizer.json"))
    flags = {} if begin is None else {"add_bos_token": begin}
    tokenizer = load_tokenizer(beside(folder, tokenizer_class="GPT2Tokenizer", **flags))
    for text in TEXTS:
        want = [50256] * bool(begin) + twin.encode(text).ids
        assert tokenizer(text)["input_ids"] == want


def test_added_tokens_beside_a_vocabulary(folder):
    beside(folder, "added_tokens.json", **{"<pad>": 50257, "<|im|>": 50258})
    beside(folder, "special_tokens_map.json", pad_token="<pad>")
    tokenizer = load_tokenizer(beside(folder, tokenizer_class="GPT2Tokenizer"))
    assert tokenizer("a<pad><|im|>")["input_ids"][1:] == [50257, 50258]
    assert tokenizer.pad_token_id == 50257
    beside(folder, "added_tokens.json", **{"<pad>": 3})
    with pytest.raises(CheckpointError, match="'<pad>' has id 3"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize("lower", [True, False])
def test_word_pieces(tmp_path, lower):
    (tmp_path / "vocab.txt").write_bytes("\r\n".join(WORDS).encode())
    core = Tokenizer(
        models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]")
    )
    core.normalizer = normalizers.BertNormalizer(lowercase=lower)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    core.add_special_tokens(WORDS[:5])
    tokenizer = load_tokenizer(
        beside(tmp_path, tokenizer_class="BertTokenizer", do_lower_case=lower)
    )
    for text in (
        "Hello worldly!",
        "\u00c9t\u00e9 \u00e9t\u00e9 a\u6f22",
        "[MASK] x",
        "",
    ):
        ours, theirs = tokenizer.backend_tokenizer.encode(text), core.encode(text)
        assert (ours.ids, ours.offsets) == (theirs.ids, theirs.offsets)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"tokenizer_class": "OwnTokenizer"},
        {"tokenizer_class": "PreTrainedTokenizerFast"},
    ],
)
def test_no_class_says_how_text_is_split(folder, settings):
    with pytest.raises(
        CheckpointError, match=r"does not say how|no readable tokenizer"
    ):
        load_tokenizer(beside(folder, **settings))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("vocab.json", b"[]", "expected a JSON object, got a list"),
        ("vocab.json", b'{"a": 0, "a": 1}', "stands twice"),
        ("vocab.json", b'{"a": "x"}', "no readable tokenizer"),
        ("vocab.json", '{"a": 0}'.encode("utf-16"), "byte order mark"),
        ("merges.txt", b"\xef\xbb\xbf#version", "byte order mark"),
        ("merges.txt", b"a\xffb", "merges.txt, line 1: not UTF-8"),
        ("merges.txt", b"#version\nabc\n", "no readable tokenizer"),
        ("merges.txt", None, "has vocab.json without merges.txt"),
    ],
)
def test_malformed_vocabularies(folder, name, data, message):
    beside(folder, tokenizer_class="GPT2Tokenizer")
    if data is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as raised:
        load_tokenizer(str(folder))
    assert "\n" not in str(raised.value)
