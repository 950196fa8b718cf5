"""Training a byte-level BPE tokenizer in the Hugging Face format."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from helix_jax.atomic import replaced_files
from helix_jax.errors import RunError
from helix_jax.models import load_tokenizer
from helix_jax.transformers_names import transformers_names

END_OF_TEXT = "<|endoftext|>"


def kept_tokenizer(
    folder: Path, texts: Iterable[str], *, vocab_size: int, context: int
) -> Any:
    """The tokenizer of a folder, trained and saved there if it is missing.

    Args:
      folder: of the tokenizer's files.
      texts, vocab_size, context: as for `train_tokenizer`.

    Raises:
      RunError: the folder cannot be written.
    """
    if not (folder / "tokenizer.json").exists():
        trained = train_tokenizer(texts, vocab_size=vocab_size, context=context)
        with replaced_files(folder, raises=RunError) as new:
            trained.save_pretrained(new)
    return load_tokenizer(str(folder))


def train_tokenizer(texts: Iterable[str], *, vocab_size: int, context: int) -> Any:
    """Train a byte-level BPE tokenizer that begins every text with END_OF_TEXT.

    Args:
      texts: the training text.
      vocab_size: V, the 256 bytes and the special token included.
      context: tokens, kept as model_max_length.

    Returns:
      transformers.PreTrainedTokenizerFast; END_OF_TEXT, id 0, is its beginning, end,
      padding and unknown token.

    Reference: Sennrich et al. 2016, arXiv 1508.07909; Radford et al. 2019.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer

    (PreTrainedTokenizerFast,) = transformers_names("PreTrainedTokenizerFast")

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A",
        pair=f"{END_OF_TEXT} $A {END_OF_TEXT} $B",
        special_tokens=[(END_OF_TEXT, tokenizer.token_to_id(END_OF_TEXT))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        model_max_length=context,
    )
