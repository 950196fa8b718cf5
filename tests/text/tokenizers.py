"""Real tokenizers that lie beside the project, and small ones of every kind."""

import functools
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from helix_jax.models import load_tokenizer

ASSETS = Path(__file__).parents[2] / "helix_jax" / "assets"
EMBEDDED = ("pebble-llama", "pebble-neox", "pebble-qwen3")
REAL = (
    "tokenizers/qwen2.5",
    "tokenizers/gpt-neox-20b_pythia",
    "tokenizers/gpt2",
    "tokenizers/llama2",
    "tokenizers/mistral/tokenizer.model.v1",
    "models/stories260K",
    "models/llama2xs-280K",
    "models/babyllama-tok361",
    "models/babyllama-tok105",
)
_load = functools.cache(load_tokenizer)


def get_tokenizer(name, shared):
    """An embedded tokenizer, or one of REAL from the shared folder."""
    return _load(str(ASSETS / name if name in EMBEDDED else shared / name))


def spelled_by_bytes():
    """All 256 bytes as <0xNN>, the space, and three words."""
    words = ["\u2581", "a", "b", "\u2581a", "\u2581ab", "ab"]
    names = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    merges = [("\u2581", "a"), ("\u2581a", "b"), ("a", "b")]
    vocabulary = {name: index for index, name in enumerate(names)}
    model = models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>")
    return Tokenizer(model)


def metaspace(scheme):
    """Sentencepiece style by pre-tokenizer, as in newer llama files."""
    core = spelled_by_bytes()
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    core.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)]
    )
    return core


def gemma_like():
    """Spaces replaced, nothing put before the text."""
    core = spelled_by_bytes()
    core.normalizer = normalizers.Replace(" ", "\u2581")
    core.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return core


def prefixed_bytes():
    """Byte-level BPE without merges that puts a space before the first word."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    core.decoder = decoders.ByteLevel()
    return core


def wordpiece():
    """bert, in small."""
    words = "[UNK] the cat ##s run ##ning . é".split()
    model = models.WordPiece(
        {word: i for i, word in enumerate(words)}, unk_token="[UNK]"
    )
    core = Tokenizer(model)
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    return core


def characters():
    """A vocabulary of plain characters, without a decoder."""
    model = models.BPE({c: i for i, c in enumerate("ab é漢")}, [])
    core = Tokenizer(model)
    core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return core


def join_pieces(table, ids):
    """The bytes of a text from all its tokens, without the dummy space."""
    joined = b"".join(table.pieces[index] or b"" for index in ids)
    return joined[1:] if table.dummy_space and joined[:1] == b" " else joined
