"""Made-up texts, a tokenizer for them and a tiny random llama."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from helix_jax.activations import Extraction, extract
from helix_jax.models import Model, ModelSpec, RopeSpec, nest, parameter_shapes
from helix_jax.types import Text

WORDS = (
    "the a small large red green blue old new cat dog bird house river mountain tree "
    "runs sleeps sings falls grows under over near beside behind quickly slowly"
).split()


def make_texts(count: int, *, longest: int = 4, seed: int = 0) -> list[Text]:
    """Distinct made-up sentences of 1..longest words; every third has no label."""
    texts = []
    for number in range(count):
        state = (number * 7919 + seed * 104729) % 1000003
        words = []
        for _ in range(1 + state % longest):
            state = (state * 48271) % 2147483647
            words.append(WORDS[state % len(WORDS)])
        label = None if number % 3 == 2 else number % 3
        texts.append(Text(f"made/{number}", " ".join(words), label))
    return texts


def make_tokenizer(
    vocab_size: int = 96, *, begins: bool = True
) -> PreTrainedTokenizerFast:
    """Byte-level BPE of the words above, with <s> put before a text, or nothing."""
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=["<unk>", "<s>"], show_progress=False
    )
    core.train_from_iterator([" ".join(WORDS)], trainer)
    if begins:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", pad_token="<unk>"
    )


def make_model(vocab_size: int = 96, *, seed: int = 0, max_tokens: int = 64) -> Model:
    """A random llama of width 16 and two layers."""
    spec = ModelSpec(
        family="llama",
        vocab_size=vocab_size,
        width=16,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_width=4,
        ffn_width=24,
        max_tokens=max_tokens,
        rope=RopeSpec((1.0, 0.01)),
        attention_scale=0.5,
        tied=True,
    )
    random = np.random.default_rng(seed)  # numpy compiles nothing
    flat = {
        path: jnp.asarray(
            np.ones(shape)
            if path.endswith("scale")
            else random.normal(size=shape, scale=0.5),
            jnp.float32,
        )
        for path, shape in parameter_shapes(spec).items()
    }
    record = {
        "model": f"tiny-{seed}",
        "revision": None,
        "dtype": "float32",
        "weights": f"seed {seed}",
    }
    return Model(spec, nest(flat), record, Path("nowhere"))


def extracted(model, tokenizer, texts, path, **options):
    """`extract`, with those of `Extraction` among its options."""
    own = {name: options.pop(name) for name in Extraction._fields if name in options}
    options = {"text_fingerprint": "made", "progress": False} | options
    return extract(model, tokenizer, texts, path, Extraction(**own), **options)


def store_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
