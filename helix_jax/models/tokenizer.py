"""Tokenizers of models, and whether a tokenizer and a model belong together.

The files decide, not what a class would do with them:

    tokenizer.json unchanged
    *.model                       the sentencepiece model, for classes that add nothing
    vocab.json and merges.txt,    by the declared class of transformers, which alone
      vocab.txt                   says how text is split

each with the files beside it (`tokenizer_files`, `tokenizer_settings`). A model's code
is never run (trust_remote_code is False), and there is no prompt that would allow it.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer

from helix_jax import kinds
from helix_jax.arguments import takes
from helix_jax.errors import CheckpointError
from helix_jax.models.sentencepiece import read_sentencepiece
from helix_jax.models.tokenizer_files import TokenizerFiles, declared_class
from helix_jax.models.tokenizer_place import TokenizerPlace, find_tokenizer
from helix_jax.models.tokenizer_settings import apply_settings
from helix_jax.models.vocabulary_files import VOCABULARIES, first_line, read_vocabulary
from helix_jax.textfile import parse_json, read_text
from helix_jax.transformers_names import transformers_names

# Classes whose ids are those of their sentencepiece file, and whose texts begin with
# its <s>; the others shift ids or put tokens of their own around texts.
_PLAIN_PIECES = (
    "LlamaTokenizer",
    "GemmaTokenizer",
    "MistralCommonBackend",
    "TokenizersBackend",
    "PreTrainedTokenizer",
)


@takes(name_or_path=kinds.PATH.but(Model="{}.folder"))
def load_tokenizer(name_or_path: str, *, revision: str | None = None) -> Any:
    """The fast tokenizer of a model folder or hub id.

    Args:
      name_or_path: a folder with tokenizer files, one of these files (tokenizer.json or
        a sentencepiece model such as tokenizer.model), or a hub id.
      revision: branch, tag or commit of a hub id.

    Returns:
      transformers.PreTrainedTokenizerFast, which neither pads nor truncates by itself.
      If no file names a padding token, the end-of-text token is used, or else the
      unknown token, if it exists: models here mask by length, so no result depends on
      it.

    Raises:
      CheckpointError: no tokenizer files, malformed or contradictory ones, or none that
        gives character offsets.
    """
    place = find_tokenizer(name_or_path, revision=revision)
    return _wrap(_read(place), place.path)


class _Found(NamedTuple):
    """A tokenizer, and its files, completed by the special tokens that it names."""

    core: Tokenizer
    files: TokenizerFiles


class _Ours(NamedTuple):
    """A tokenizer with no other users, which transformers may use without a copy."""

    core: Tokenizer

    def __deepcopy__(self, memo: dict) -> Tokenizer:
        return self.core


def _wrap(found: _Found, path: Path) -> Any:
    (PreTrainedTokenizerFast,) = transformers_names("PreTrainedTokenizerFast")

    core, files = found
    padding = core.padding or {}
    special = {name: token.content for name, token in files.special.items()}
    if padding and core.token_to_id(padding["pad_token"]) == padding["pad_id"]:
        special.setdefault("pad_token", padding["pad_token"])
    apply_settings(core, files)
    pad = special.get("eos_token") or special.get("unk_token")
    taken = (
        "model_max_length",
        "clean_up_tokenization_spaces",
        "padding_side",
        "truncation_side",
        "model_input_names",
    )
    settings = {
        name: files.settings[name]
        for name in taken
        if files.settings.get(name) is not None
    }
    try:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=_Ours(core),
            chat_template=files.chat_template,
            **{"pad_token": pad, **special, **settings},
        )
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{files.folder}: tokenizer_config.json has a setting that cannot be used "
            f"({first_line(error)})."
        ) from error
    # Not given above: with it transformers would look for that name on the hub.
    tokenizer.name_or_path = str(path)
    return tokenizer


def _read(place: TokenizerPlace) -> _Found:
    path, vocabulary, files = place
    if vocabulary != path and vocabulary.name in VOCABULARIES:
        return _from_vocabulary(path, files)
    read = _from_json if vocabulary.suffix == ".json" else _from_sentencepiece
    return read(vocabulary, files)


def _from_json(path: Path, files: TokenizerFiles) -> _Found:
    text = read_text(path, raises=CheckpointError)
    parse_json(text, str(path), raises=CheckpointError)
    try:
        core = Tokenizer.from_str(text)
    except Exception as error:  # the library raises no narrower type
        raise CheckpointError(
            f"{path} is no tokenizer of the tokenizers library ({first_line(error)}); "
            "download the file from the model's page again."
        ) from error
    return _Found(core, files)


def _from_vocabulary(folder: Path, files: TokenizerFiles) -> _Found:
    made = read_vocabulary(folder, declared_class(files))
    return _Found(made.backend_tokenizer, _with_special(files, made.special_tokens_map))


def _from_sentencepiece(path: Path, files: TokenizerFiles) -> _Found:
    declared = declared_class(files)
    if declared is not None and declared.removesuffix("Fast") not in _PLAIN_PIECES:
        raise CheckpointError(
            f"{files.folder} has a sentencepiece model and declares the class "
            f"{declared}, whose ids may differ from those of the file alone; "
            "convert it to a tokenizer.json with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )
    settings = files.settings
    begin = settings.get("add_bos_token") is not False
    read = partial(
        read_sentencepiece,
        path,
        prefix=settings.get("add_prefix_space"),
        behind_symbols=settings.get("legacy") is not False,
    )
    made = read(begin=begin)
    own = {
        name: getattr(made, name) for name in ("unk_token", "bos_token", "eos_token")
    }
    bos = files.special.get("bos_token")
    if begin and bos is not None and bos.content != made.bos_token:
        made = read(begin=False)
        files = files._replace(settings=settings | {"add_bos_token": True})
    own["pad_token"] = made.pad_token
    return _Found(made.tokenizer, _with_special(files, own))


def _with_special(files: TokenizerFiles, own: dict[str, Any]) -> TokenizerFiles:
    """The files, completed by the special tokens that the vocabulary names.

    A token that the files give as null stays absent.
    """
    named = {
        name: AddedToken(str(token), special=True, normalized=False)
        for name, token in own.items()
        if token is not None and files.settings.get(name, token) is not None
    }
    return files._replace(special=named | files.special)


def check_vocabulary(tokenizer: Any, vocab_size: int, *, model: str) -> None:
    """Refuse a tokenizer whose vocabulary is not the model's.

    Checkpoints pad their embedding table to a round number of rows, so it may have
    some more rows than the tokenizer has entries: up to the next multiple of 128, or
    a tenth of the table. Tokens added to the vocabulary may lie beyond the table, as
    <image_soft_token> does in the smallest gemma 3; a text that holds one is refused
    when it is read.

    Args:
      tokenizer: from `load_tokenizer`.
      vocab_size: V, rows of the model's embedding.
      model: the model's name, for the message.

    Raises:
      CheckpointError: too many entries, or far too few.
    """
    backend = tokenizer.backend_tokenizer
    vocabulary = backend.get_vocab(with_added_tokens=False)
    base = 1 + max(vocabulary.values(), default=-1)
    size = max(base, 1 + max(backend.get_added_tokens_decoder(), default=-1))
    padded = -(-size // 128) * 128
    if base > vocab_size or (padded < vocab_size and size < 0.9 * vocab_size):
        name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
        raise CheckpointError(
            f"the tokenizer {name} has {size} entries and the model {model} has "
            f"{vocab_size}: they do not belong together. Load the tokenizer from the "
            "model's own folder."
        )
