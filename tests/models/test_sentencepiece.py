"""Sentencepiece files against the library's algorithm, written plainly."""

import itertools
import json
import shutil
import struct

import pytest
import transformers

from helix_jax.errors import CheckpointError
from helix_jax.models import load_tokenizer
from helix_jax.models.protobuf import read_fields
from helix_jax.models.sentencepiece import read_sentencepiece

FILES = {
    "llama2": "llama2/tokenizer.model",
    "mistral": "mistral/tokenizer.model.v1",
    "mistral v3": "mistral/mistral_instruct_tokenizer_240323.model.v3",
}


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def model_file(path, pieces, trainer, cleaner=()):
    """Write a sentencepiece model of (name, score, kind) pieces."""
    parts = [
        field(1, field(1, name.encode()) + field(2, float(score)) + field(3, kind))
        for name, score, kind in pieces
    ]
    for number, settings in ((2, trainer), (3, dict(cleaner))):
        parts.append(field(number, b"".join(field(*one) for one in settings.items())))
    path.write_bytes(b"".join(parts))
    return path


SPECIAL = [("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3)]
SMALL = [
    *SPECIAL,
    ("\u2581a", -1, 1),
    ("ba", -2, 1),
    ("\u2581", -3, 1),
    ("a", -4, 1),
    ("b", -5, 1),
    ("<sep>", 0, 4),
]
PLAIN = {3: 1, 4: 0}  # a space before the text, white space as it is


def tokens(made, text, **kwargs):
    return made.tokenizer.encode(text, **kwargs).tokens


def test_small_bpe(tmp_path):
    path = model_file(tmp_path / "m.model", SMALL, {3: 2, 43: -1}, PLAIN)
    made = read_sentencepiece(path)
    assert made[1:] == ("<unk>", "<s>", "</s>", None)
    assert tokens(made, "a  bab") == ["<s>", "\u2581a", "\u2581", "\u2581", "ba", "b"]
    assert tokens(made, "") == ["<s>"]
    assert tokens(made, "b<sep>c")[1:4] == ["\u2581", "b", "<sep>"]
    assert made.tokenizer.decode(made.tokenizer.encode("a  bab").ids) == "a  bab"
    assert tokens(read_sentencepiece(path, begin=False), "a") == ["\u2581a"]


def test_small_unigram_takes_the_best_sum(tmp_path):
    pieces = [
        *SPECIAL,
        ("\u2581", -1, 1),
        ("aa", -3, 1),
        ("a", -1, 1),
        ("aaa", -2.5, 1),
    ]
    path = model_file(tmp_path / "m.model", pieces, {3: 1}, PLAIN)
    got = tokens(read_sentencepiece(path, begin=False), "aaaa")
    assert sorted(got) == ["a", "aaa", "\u2581"]  # -3.5; aa aa has -6, a a a a -4


def test_white_space_is_cleaned_by_default(tmp_path):
    path = model_file(tmp_path / "m.model", SMALL, {3: 2})
    assert tokens(read_sentencepiece(path, begin=False), "  a   a ") == ["\u2581a"] * 2


def test_folder_file_and_config(tmp_path):
    path = model_file(tmp_path / "tokenizer.model", SMALL, {3: 2}, PLAIN)
    for name in (path, tmp_path):
        tokenizer = load_tokenizer(str(name))
        assert tokenizer("a")["input_ids"] == [1, 3]
        assert tokenizer.pad_token == "</s>"
    (tmp_path / "tokenizer_config.json").write_text('{"add_bos_token": false}')
    assert load_tokenizer(str(tmp_path))("a")["input_ids"] == [3]


@pytest.mark.parametrize("data", [b"", b"not a model at all", b"\x0a\xff\xff\xff\x7f"])
def test_other_files(tmp_path, data):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"tokenizer\.model is n"):
        load_tokenizer(str(path))


@pytest.mark.parametrize(
    "damage",
    [
        field(1, field(1, 5)),  # a piece whose name is a number
        field(1, field(1, b"c") + field(2, b"score")),
        field(1, field(1, b"c") + field(3, 1.0)),
        field(2, 7),  # settings that are a number
        field(2, field(3, b"kind")),
        field(2, field(41, 1.0)),
        field(3, field(2, 5)),  # a table that is a number
        field(3, field(4, b"yes")),
    ],
)
def test_fields_of_another_type_are_refused(tmp_path, damage):
    path = model_file(tmp_path / "m.model", SMALL, {3: 2}, PLAIN)
    read_sentencepiece(path)
    path.write_bytes(path.read_bytes() + damage)
    with pytest.raises(CheckpointError, match=r"m\.model is no sentencepiece model"):
        read_sentencepiece(path)


@pytest.mark.parametrize("trainer", [{3: 3}, {3: 2, 24: 1}])
def test_unknown_settings(tmp_path, trainer):
    path = model_file(tmp_path / "m.model", SMALL, trainer)
    with pytest.raises(CheckpointError, match=r"convert it to a tokenizer\.json"):
        read_sentencepiece(path)


def merge_by_score(text, ids, scores):
    """The library's algorithm: the best neighbours first, the leftmost of equals."""
    parts = list(" " + text)
    parts = [part.replace(" ", "\u2581") for part in parts]
    while True:
        joined = [a + b for a, b in itertools.pairwise(parts)]
        found = [
            (scores[one], -place) for place, one in enumerate(joined) if one in scores
        ]
        if not found:
            break
        place = -max(found)[1]
        parts[place : place + 2] = [joined[place]]
    out = []
    for part in parts:
        bytes_ = [f"<0x{byte:02X}>" for byte in part.encode()]
        out += [ids[part]] if part in ids else [ids[one] for one in bytes_]
    return out


@pytest.mark.parametrize("name", FILES)
def test_real_files_merge_by_score(name, shared):
    path = shared / "tokenizers" / FILES[name]
    pieces = [dict(read_fields(v)) for n, v in read_fields(path.read_bytes()) if n == 1]
    ids = {piece[1].decode(): index for index, piece in enumerate(pieces)}
    scores = {p[1].decode(): p.get(2, 0.0) for p in pieces if p.get(3, 1) == 1}
    lines = (shared / "data" / "ag_news" / "test.jsonl").read_text().splitlines()[:60]
    texts = [json.loads(line)["text"] for line in lines]
    texts += ["  x\n\n漢字 😀 aaaaaaa ==========   ", " a", "\t1234567.89"]
    core = read_sentencepiece(path, begin=False).tokenizer
    for text in texts:
        assert core.encode(text).ids == merge_by_score(text, ids, scores)


def test_published_ids(shared):
    want = {"llama2": [1, 15043, 3186], "mistral": [1, 22557, 1526]}
    for name, ids in want.items():
        tokenizer = load_tokenizer(str(shared / "tokenizers" / FILES[name]))
        assert tokenizer("Hello world")["input_ids"] == ids


def beside(folder, name="tokenizer_config.json", **settings):
    (folder / name).write_text(json.dumps(settings))


@pytest.fixture
def small(tmp_path):
    model_file(tmp_path / "tokenizer.model", SMALL, {3: 2}, PLAIN)
    return tmp_path


def test_every_file_beside_the_model_counts(small):
    beside(small, "added_tokens.json", **{"<pad>": 9})
    beside(small, "special_tokens_map.json", pad_token="<pad>", mask_token="<mask>")
    beside(small, add_bos_token=False, add_eos_token=True)
    tokenizer = load_tokenizer(str(small))
    assert tokenizer("a")["input_ids"] == [3, 2]
    assert tokenizer.pad_token_id == 9
    assert tokenizer("a<pad><mask>")["input_ids"] == [3, 9, 10, 2]
    beside(small, "added_tokens.json", **{"<pad>": 4})
    with pytest.raises(
        CheckpointError, match="'<pad>' has id 4, but in the vocabulary '"
    ):
        load_tokenizer(str(small))


def test_another_beginning_of_text_is_the_one_that_is_named(small):
    beside(small, bos_token="<sep>")
    assert load_tokenizer(str(small))("a")["input_ids"] == [8, 3]


@pytest.mark.parametrize(
    ("settings", "text", "want"),
    [
        ({}, "b</s>b", ["\u2581", "b", "</s>", "\u2581", "b"]),
        ({"legacy": True}, "b</s>b", ["\u2581", "b", "</s>", "\u2581", "b"]),
        ({"legacy": False}, "b</s>b", ["\u2581", "b", "</s>", "b"]),
        ({"legacy": False}, "a</s> a", ["\u2581a", "</s>", "\u2581a"]),
        ({"add_prefix_space": False}, "b a", ["b", "\u2581a"]),
        ({"add_prefix_space": True}, "a a", ["\u2581a", "\u2581a"]),
    ],
)
def test_where_a_space_is_put(small, settings, text, want):
    beside(small, add_bos_token=False, **settings)
    assert load_tokenizer(str(small)).tokenize(text) == want


@pytest.mark.parametrize("legacy", [False, True])
def test_spaces_behind_symbols_as_transformers_puts_them(shared, tmp_path, legacy):
    shutil.copy(shared / "tokenizers" / FILES["llama2"], tmp_path / "tokenizer.model")
    beside(tmp_path, tokenizer_class="LlamaTokenizer", legacy=legacy)
    tokenizer = load_tokenizer(str(tmp_path))
    record = json.loads(tokenizer.backend_tokenizer.to_str())
    merges = [tuple(pair) for pair in record["model"]["merges"]]
    twin = transformers.LlamaTokenizer(
        vocab=record["model"]["vocab"], merges=merges, legacy=legacy, add_bos_token=True
    )
    for text in ("Hello world</s>Hello</s>again", "x<s>y\n\nz  9", "caf\u00e9 \u6f22"):
        assert tokenizer(text)["input_ids"] == twin(text)["input_ids"]


@pytest.mark.parametrize("name", ["T5Tokenizer", "XLMRobertaTokenizerFast"])
def test_classes_with_ids_of_their_own_are_refused(small, name):
    beside(small, tokenizer_class=name)
    with pytest.raises(CheckpointError, match=f"class {name}, whose ids may differ"):
        load_tokenizer(str(small))
    (small / "tokenizer_config.json").unlink()
    kind = {"T5Tokenizer": "t5"}.get(name, "xlm-roberta")
    beside(small, "config.json", model_type=kind)
    with pytest.raises(CheckpointError, match="whose ids may differ"):
        load_tokenizer(str(small))
    beside(small, "config.json", model_type="llama")
    assert load_tokenizer(str(small))("a")["input_ids"] == [1, 3]


def test_which_of_several_models(small):
    want = load_tokenizer(str(small))("a")["input_ids"]
    (small / "other.model").write_bytes(b"no model")
    assert load_tokenizer(str(small))("a")["input_ids"] == want
    (small / "tokenizer.model").rename(small / "third.model")
    with pytest.raises(CheckpointError, match=r"has other\.model, third\.model: name"):
        load_tokenizer(str(small))
    assert load_tokenizer(str(small / "third.model"))("a")["input_ids"] == want
