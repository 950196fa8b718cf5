"""Tokenizers are what their files say: against `tokenizers` and transformers."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from helix_jax import assets
from helix_jax.errors import CheckpointError
from helix_jax.models import load_tokenizer
from helix_jax.text.tokens import tokenizer_fingerprint

TEXTS = [
    "Hello World! It's  2024, \u00e9t\u00e9 na\u00efve 3.14 \n\t x",
    " leading",
    "trailing ",
    "",
    "\u6f22\u5b57 \U0001f600",
    "def f(x):\n    return x",
    "<s> a <|endoftext|> [MASK] <mask>  </s>",
    "!" * 9,
]


@pytest.fixture(scope="module")
def gpt2(shared):
    return (shared / "tokenizers" / "gpt2" / "tokenizer.json").read_text()


@pytest.fixture
def folder(tmp_path):
    """A folder with a small byte-level tokenizer.json."""
    small_tokenizer().save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def small_tokenizer(begin=False):
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<unk>", "<s>", "</s>", *symbols]
    core = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.add_special_tokens(["<unk>", "<s>", "</s>"])
    if begin:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
        )
    return core


def configure(folder, name="tokenizer_config.json", **settings):
    (folder / name).write_text(json.dumps(settings))
    return str(folder)


def assert_same_ids(tokenizer, twin, texts=TEXTS):
    for text in texts:
        ours, theirs = tokenizer.backend_tokenizer.encode(text), twin.encode(text)
        assert ours.ids == theirs.ids
        assert ours.offsets == theirs.offsets


def test_digits_split_as_the_file_says(tmp_path, gpt2):
    record = json.loads(gpt2)
    record["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {
                "type": "ByteLevel",
                "add_prefix_space": False,
                "trim_offsets": True,
                "use_regex": True,
            },
        ],
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(record))
    configure(tmp_path, tokenizer_class="GPT2Tokenizer")
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.tokenize(" 2024") == ["\u0120", "2", "0", "2", "4"]
    assert_same_ids(tokenizer, Tokenizer.from_file(str(tmp_path / "tokenizer.json")))


@pytest.mark.parametrize("name", ["LlamaTokenizer", "BertTokenizer", "Qwen2Tokenizer"])
def test_no_declared_class_rebuilds_a_tokenizer(folder, name):
    core = small_tokenizer()
    core.normalizer = normalizers.Replace("a", "b")
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.save(str(folder / "tokenizer.json"))
    configure(folder, tokenizer_class=name)
    assert_same_ids(load_tokenizer(str(folder)), core)


def real_folders():
    names = ("smollm2-135m", "mpnet-base", "minilm-l6")
    return [
        *(
            f"shared:models/{name}"
            for name in (
                "stories260K",
                "llama2xs-280K",
                "babyllama-tok105",
                "babyllama-tok361",
            )
        ),
        *(f"shared:tokenizers/{name}" for name in ("gpt2", "gpt-neox-20b_pythia")),
        *(f"asset:{name}" for name in ("pebble-llama", "pebble-neox", "pebble-qwen3")),
        *(f"real:{name}" for name in names),
    ]


@pytest.mark.parametrize("name", real_folders())
def test_real_tokenizers_are_their_files(name, request):
    kind, _, name = name.partition(":")
    if kind == "shared":
        folder = request.getfixturevalue("shared") / name
    elif kind == "asset":
        folder = assets.model_path(name)
    else:
        folder = Path(request.getfixturevalue("real_model")(name))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    tokenizer = load_tokenizer(str(folder))
    twin = Tokenizer.from_file(str(folder / "tokenizer.json"))
    twin.no_truncation()
    twin.no_padding()
    assert_same_ids(tokenizer, twin)
    if not (folder / "tokenizer_config.json").is_file():
        return
    auto = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer(TEXTS)["input_ids"] == auto(TEXTS)["input_ids"]
    assert tokenizer.special_tokens_map.items() >= auto.special_tokens_map.items()
    assert tokenizer.chat_template == auto.chat_template
    assert tokenizer.model_max_length == auto.model_max_length


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("models/stories260K", "4a3fd9ed57655422"),
        ("models/babyllama-tok105", "500665b48a37d3bf"),
        ("tokenizers/gpt2", "8b744ed78270f4b7"),
        ("tokenizers/llama2", "68fdcc34ab93afd5"),
        ("tokenizers/qwen2.5", "23896090da293e0b"),
        ("tokenizers/mistral/tokenizer.model.v1", "2452a14d99e7770a"),
    ],
)
def test_fingerprints_that_stores_hold_stay(name, fingerprint, shared):
    tokenizer = load_tokenizer(str(shared / name))
    assert tokenizer_fingerprint(tokenizer) == fingerprint


FRAMES = {
    "nothing": None,
    "bytes": processors.ByteLevel(trim_offsets=True),
    "begin": processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    ),
    "bytes, begin, end": processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<s> $A </s>",
                pair="<s> $A </s> <s>:1 $B:1 </s>:1",
                special_tokens=[("<s>", 1), ("</s>", 2)],
            ),
        ]
    ),
}


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("end", [False, True, None])
@pytest.mark.parametrize("begin", [False, True, None])
def test_flags_for_begin_and_end_of_text(folder, frame, begin, end):
    core = small_tokenizer()
    if FRAMES[frame] is not None:
        core.post_processor = FRAMES[frame]
    core.save(str(folder / "tokenizer.json"))
    configure(
        folder,
        bos_token="<s>",
        eos_token="</s>",
        add_bos_token=begin,
        add_eos_token=end,
        tokenizer_class="LlamaTokenizer",
    )
    tokenizer = load_tokenizer(str(folder))
    begin = "begin" in frame if begin is None else begin
    end = "end" in frame if end is None else end
    twin = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        add_bos_token=begin,
        add_eos_token=end,
    )
    for args in (("ab",), ("",), ("a", "b")):
        assert tokenizer(*args)["input_ids"] == twin(*args)["input_ids"]
    plain = core.encode("a b", add_special_tokens=False).ids
    assert tokenizer("a b")["input_ids"] == [1] * begin + plain + [2] * end


TEXT, BEGIN = {"Sequence": {"id": "A", "type_id": 0}}, "<s>"
OTHER = {"Sequence": {"id": "B", "type_id": 0}}


def template(*single, begin=BEGIN):
    """A template as tokenizer.json has it, "<s>" in it under the name `begin`."""
    named = {"SpecialToken": {"id": begin, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "pair": [],
        "single": [named if part == BEGIN else part for part in single],
        "special_tokens": {begin: {"id": begin, "ids": [1], "tokens": ["<s>"]}},
    }


def frame(folder, *steps, **settings):
    record = json.loads((folder / "tokenizer.json").read_text())
    record["post_processor"] = {"type": "Sequence", "processors": list(steps)}
    (folder / "tokenizer.json").write_text(json.dumps(record))
    return configure(folder, bos_token="<s>", eos_token="</s>", **settings)


@pytest.mark.parametrize("single", [[BEGIN], [TEXT, TEXT], [BEGIN, OTHER]])
def test_templates_that_leave_a_text_out_or_repeat_it(folder, single):
    with pytest.raises(CheckpointError, match="expected a text once, as sequence A"):
        load_tokenizer(frame(folder, template(*single)))


def test_what_is_put_around_texts_is_measured(folder):
    """Whatever a template calls its tokens, and where it is not applied at all."""
    named = template(BEGIN, TEXT, begin="start")
    for begin in (True, False, None):
        tokenizer = load_tokenizer(frame(folder, named, add_bos_token=begin))
        assert tokenizer("ab")["input_ids"] == [1] * (begin is not False) + [67, 68]
    # Of several templates the second reads the first one's result as a pair.
    lost = template(BEGIN, TEXT), template(TEXT, BEGIN)
    assert (
        Tokenizer.from_file(f"{frame(folder, *lost)}/tokenizer.json").encode("ab").ids
        == []
    )
    with pytest.raises(CheckpointError, match="expected a text once, as sequence A"):
        load_tokenizer(str(folder))
    kept = template(BEGIN, TEXT), template(TEXT, BEGIN) | {"pair": [TEXT, OTHER]}
    path = frame(folder, *kept)
    assert load_tokenizer(path)("ab")["input_ids"] == [1, 67, 68]
    configure(folder, bos_token="<s>", eos_token="<s>", add_eos_token=True)
    with pytest.raises(CheckpointError, match=r"add_eos_token is true, .*puts nothing"):
        load_tokenizer(path)


@pytest.mark.parametrize("asked", [False, None])
def test_bytes_as_a_normalizer_put_no_space_anywhere(folder, asked):
    core = small_tokenizer()
    core.normalizer, core.pre_tokenizer = normalizers.ByteLevel(), None
    core.save(str(folder / "tokenizer.json"))
    assert_same_ids(load_tokenizer(configure(folder, add_prefix_space=asked)), core)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"add_bos_token": True}, "add_bos_token is true, but no bos_token is named"),
        ({"add_eos_token": "yes"}, "add_eos_token must be true, false or null"),
        (
            {"do_lower_case": True},
            "do_lower_case is true, but the tokenizer's own file",
        ),
        ({"strip_accents": True}, "strip_accents is true"),
        ({"tokenize_chinese_chars": True}, "tokenize_chinese_chars is true"),
        ({"add_prefix_space": True}, "add_prefix_space is true"),
        ({"split_special_tokens": True}, "split_special_tokens=True .* not honoured"),
        ({"fix_mistral_regex": True}, "fix_mistral_regex=True .* not honoured"),
        ({"fast_tokenizer_files": ["tokenizer.4.0.json"]}, "fast_tokenizer_files"),
        ({"auto_map": {"AutoTokenizer": ["own.Own", None]}}, "trust_remote_code is Fa"),
        ({"auto_map": ["own.Own", "own.OwnFast"]}, r"own\.OwnFast.*\(trust_rem"),
        ({"bos_token": 7}, "bos_token: expected a token"),
        ({"eos_token": {"content": "</s>", "lstrip": 1}}, "lstrip must be true or fal"),
        ({"chat_template": 3}, "chat_template: expected a template"),
        ({"chat_template": [{"name": "a"}]}, "chat_template: expected a template"),
        ({"model_max_length": "many"}, "must be a number, got 'many'"),
        ({"padding_side": "top"}, "cannot be used"),
        ({"additional_special_tokens": "x"}, "expected a list or an object"),
        ({"added_tokens_decoder": []}, "added_tokens_decoder: expected an object"),
        ({"added_tokens_decoder": {"x": {"content": "a"}}}, "expected ids as keys"),
        ({"added_tokens_decoder": {"1": {"content": "</s>"}}}, "'</s>' has id 1"),
        ({"added_tokens_decoder": {"1": {"content": "new"}}}, "'<s>' has that id"),
        ({"added_tokens_decoder": {"900": {"content": "new"}}}, "next free id is 259"),
        (
            {"added_tokens_decoder": {"1": {"content": "<s>", "lstrip": True}}},
            "has lstrip true, but the tokenizer's own file false",
        ),
    ],
)
def test_contradictions_are_refused_by_name(folder, settings, message):
    with pytest.raises(CheckpointError, match=message) as raised:
        load_tokenizer(configure(folder, **settings))
    assert "\n" not in str(raised.value)


def test_settings_that_agree_with_the_file_pass(folder):
    core = small_tokenizer()
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    core.save(str(folder / "tokenizer.json"))
    agreed = {
        "do_lower_case": True,
        "strip_accents": True,
        "tokenize_chinese_chars": True,
        "add_prefix_space": True,
    }
    assert_same_ids(load_tokenizer(configure(folder, **agreed)), core)
    for name in agreed:
        with pytest.raises(CheckpointError, match=f"{name} is false"):
            load_tokenizer(configure(folder, **(agreed | {name: False})))


def test_a_tokenizer_that_draws_merges_by_chance(folder):
    record = json.loads((folder / "tokenizer.json").read_text())
    record["model"]["dropout"] = 0.1
    (folder / "tokenizer.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"at random \(dropout 0.1\)"):
        load_tokenizer(str(folder))


def test_stored_padding_and_truncation_touch_no_text(folder):
    core = small_tokenizer()
    core.enable_truncation(3)
    core.enable_padding(length=12, pad_id=2, pad_token="</s>")
    core.save(str(folder / "tokenizer.json"))
    tokenizer = load_tokenizer(str(folder))
    assert len(tokenizer("abcdefg")["input_ids"]) == 7
    assert len(tokenizer.backend_tokenizer.encode("abcdefg").ids) == 7
    assert tokenizer.pad_token == "</s>"


def test_added_tokens_of_every_file_get_their_ids(folder):
    configure(folder, "added_tokens.json", **{"<p>": 260, "word": 259})
    special = {"mask_token": {"content": "<mask>", "lstrip": True, "normalized": False}}
    configure(folder, "special_tokens_map.json", pad_token="<p>", **special)
    configure(folder, extra_special_tokens=["<x>"], image_token="<image>")
    tokenizer = load_tokenizer(str(folder))
    names = ["word", "<p>", "<mask>", "<x>", "<image>"]
    assert tokenizer.convert_tokens_to_ids(names) == [259, 260, 261, 263, 262]
    assert tokenizer("aword  <mask>")["input_ids"][1:] == [259, 261]
    assert tokenizer.decode([259, 260, 263], skip_special_tokens=True) == "word"
    twin = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    assert tokenizer.get_vocab() == twin.get_vocab()
    assert tokenizer("a <p>b<x>word")["input_ids"] == twin("a <p>b<x>word")["input_ids"]


def test_special_tokens_as_transformers_reads_them(folder):
    eos = {"257": {"content": "</s>", "special": True}}
    for listed in ({}, {"added_tokens_decoder": {"2": eos["257"]}}):
        configure(folder, bos_token="<s>", eos_token="<s>", **listed)
        configure(folder, "special_tokens_map.json", eos_token="</s>")
        twin = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        tokenizer = load_tokenizer(str(folder))
        assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", twin.eos_token)


def test_chat_templates(folder):
    named = [{"name": "default", "template": "d"}, {"name": "tools", "template": "t"}]
    tokenizer = load_tokenizer(configure(folder, chat_template=named))
    messages = [{"role": "user", "content": "x"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "d"
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}!")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("r")
    tokenizer = load_tokenizer(str(folder))
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "x!"
    assert tokenizer.chat_template.keys() == {"default", "tools", "rag"}
    configure(folder)
    shutil.rmtree(folder / "additional_chat_templates")
    twin = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    assert load_tokenizer(str(folder)).chat_template == twin.chat_template


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    ],
)
@pytest.mark.parametrize(
    "data", [b"", b"[]", b"no", b'{"a": 1, "a": 2}', b"\xff\xfe\x00", b"7", b'{"a":']
)
def test_malformed_files_are_named(folder, name, data):
    (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")) as raised:
        load_tokenizer(str(folder))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_no_part_of_a_file(folder, encoding):
    want = load_tokenizer(configure(folder, bos_token="<s>", add_bos_token=True))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (folder / name).read_text()
        (folder / name).write_bytes(text.encode(encoding))
    found = load_tokenizer(str(folder / "tokenizer.json"))
    assert tokenizer_fingerprint(found) == tokenizer_fingerprint(want)


@pytest.mark.parametrize("closed", [True, False])
def test_code_of_a_model_is_neither_run_nor_asked_for(tmp_path, monkeypatch, closed):
    (tmp_path / "vocab.txt").write_text("[UNK]\na\n")
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    configure(tmp_path, auto_map={"AutoTokenizer": ["own.Own", "own.Own"]})
    given, sent = os.pipe()
    os.write(sent, b"y\n")
    monkeypatch.setattr(sys, "stdin", None if closed else os.fdopen(given))
    with pytest.raises(CheckpointError, match="trust_remote_code is False"):
        load_tokenizer(str(tmp_path))
    configure(tmp_path, tokenizer_class="OwnTokenizer")
    configure(tmp_path, "config.json", auto_map={"AutoConfig": "own.Own"})
    with pytest.raises(CheckpointError, match=r"no readable tokenizer|does not say"):
        load_tokenizer(str(tmp_path))
    assert os.read(given, 9) == b"y\n"
    assert not (tmp_path / "ran").exists()


def test_saved_and_loaded_ids_are_the_same(tmp_path, gpt2):
    """A padding token that is a word of the text would become a symbol."""
    (tmp_path / "tokenizer.json").write_text(gpt2)
    tokenizer = load_tokenizer(str(tmp_path))
    tokenizer.save_pretrained(tmp_path / "saved")
    again = load_tokenizer(str(tmp_path / "saved"))
    assert again("Hello!!! a")["input_ids"] == tokenizer("Hello!!! a")["input_ids"]
    assert tokenizer_fingerprint(again) == tokenizer_fingerprint(tokenizer)
