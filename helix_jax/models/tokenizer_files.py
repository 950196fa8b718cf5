"""Reads what the files beside a vocabulary say about a tokenizer.

    tokenizer_config.json     settings, special tokens, added tokens with their ids
    special_tokens_map.json   special tokens
    added_tokens.json         added tokens with their ids
    chat_template.jinja       the chat template; additional_chat_templates/NAME.jinja

If both of the first two files name a special token, special_tokens_map.json takes
precedence unless tokenizer_config.json lists added tokens, as in transformers. Chat
templates in files of their own take precedence over those of tokenizer_config.json.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken

from helix_jax.errors import CheckpointError
from helix_jax.models.config import is_number
from helix_jax.textfile import read_json, read_text

CONFIG = "tokenizer_config.json"
NAMES = tuple(
    f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
)
FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")
_SWITCHES = (
    "add_bos_token",
    "add_eos_token",
    "add_prefix_space",
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "legacy",
    "split_special_tokens",
    "fix_mistral_regex",
    "clean_up_tokenization_spaces",
)


class Declared(NamedTuple):
    """An added token that a file declares.

    Attributes:
      file: the name of the file.
      index: its id.
      content: its spelling.
      flags: those of FLAGS that the file gives.
    """

    file: str
    index: int  # type: ignore[assignment]  # a tuple has a method of this name
    content: str
    flags: dict[str, bool]


class TokenizerFiles(NamedTuple):
    """What the files of a folder say, apart from its vocabulary.

    Attributes:
      folder: where they are.
      settings: tokenizer_config.json as it is.
      special: those of bos_token, eos_token, ... that are named.
      extra: further special tokens.
      added: added tokens with their ids.
      chat_template: a template, several by name, or None.
    """

    folder: Path
    settings: dict[str, Any]
    special: dict[str, AddedToken]
    extra: tuple[AddedToken, ...]
    added: tuple[Declared, ...]
    chat_template: str | dict[str, str] | None


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Read and check the files beside a vocabulary; each may be missing.

    Args:
      folder: of the model.

    Raises:
      CheckpointError: malformed, or with a setting that is not honoured here.
    """
    settings = read_object(folder / CONFIG)
    _refuse_unknown(settings, folder / CONFIG)
    beside = read_object(folder / "special_tokens_map.json")
    added = read_object(folder / "added_tokens.json")
    listed = settings.get("added_tokens_decoder")
    first, second = (beside, settings) if listed is None else (settings, beside)
    where = f"{folder / CONFIG} or special_tokens_map.json"
    both = second | first
    special = {
        name: _token(both[name], f"{where}, {name}")
        for name in NAMES
        if both.get(name) is not None
    }
    declared = [
        *_listed({} if listed is None else listed, folder / CONFIG),
        *(_one_added(one, index, folder) for one, index in added.items()),
    ]
    extra = [_token(value, where) for value in _extra(settings, beside, where)]
    return TokenizerFiles(
        folder,
        settings,
        special,
        tuple(extra),
        tuple(declared),
        _chat_template(settings.get("chat_template"), folder),
    )


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no file.

    Raises:
      CheckpointError: unreadable, malformed or not an object.
    """
    if not path.exists():
        return {}
    found = read_json(path, raises=CheckpointError)
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{path}: expected a JSON object, got {_kind(found)}; write the file again."
        )
    return found


def declared_class(files: TokenizerFiles) -> str | None:
    """The tokenizer class of tokenizer_config.json, or else that of config.json.

    Raises:
      CheckpointError: it is not a string, or config.json is malformed.
    """
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    declared = files.settings.get("tokenizer_class")
    if declared is None:
        config = read_object(files.folder / "config.json")
        by_type = TOKENIZER_MAPPING_NAMES.get(str(config.get("model_type")))
        declared = config.get("tokenizer_class") or by_type
    if declared is not None and not isinstance(declared, str):
        raise CheckpointError(
            f"{files.folder}: tokenizer_class must be a string, got {declared!r}."
        )
    return declared


def _refuse_unknown(settings: dict[str, Any], path: Path) -> None:
    """Refuse settings of a wrong type, custom code, and silent changes of ids."""
    for name in _SWITCHES:
        value = settings.get(name)
        if value is not None and not isinstance(value, bool):
            raise CheckpointError(
                f"{path}: {name} must be true, false or null, got {value!r}."
            )
    length = settings.get("model_max_length")
    if length is not None and not is_number(length):
        raise CheckpointError(
            f"{path}: model_max_length must be a number, got {length!r}."
        )
    auto = settings.get("auto_map")
    if isinstance(auto, dict):
        auto = auto.get("AutoTokenizer")
    if isinstance(auto, str):
        auto = [auto]
    if code := [one for one in auto or () if one]:
        raise CheckpointError(
            f"{path}: the tokenizer is code of the model's authors ({code[-1]}, in "
            "auto_map), which helix_jax never runs (trust_remote_code is False). Read "
            "that code; if tokenizer.json alone gives the same ids, remove auto_map."
        )
    refused = [
        n for n in ("split_special_tokens", "fix_mistral_regex") if settings.get(n)
    ]
    if set(settings.get("fast_tokenizer_files") or ()) - {"tokenizer.json"}:
        refused.append("fast_tokenizer_files")
    if settings.get("sp_model_kwargs"):
        refused.append("sp_model_kwargs")
    if refused:
        raise CheckpointError(
            f"{path}: {refused[0]}={settings[refused[0]]!r} changes the tokens and is "
            "not honoured; write a tokenizer.json that includes the change, and "
            f"remove {refused[0]}."
        )


def _token(value: Any, where: str) -> AddedToken:
    """A special token, given as a string or as a record."""
    record = {"content": value} if isinstance(value, str) else value
    content = record.get("content") if isinstance(record, dict) else None
    if not isinstance(content, str) or not content:
        raise CheckpointError(
            f"{where}: expected a token, as a string or an object with content, got "
            f"{value!r}."
        )
    flags = _flags(record, where) | {"special": True}
    return AddedToken(content, **{"normalized": False, **flags})


def _flags(record: dict[str, Any], where: str) -> dict[str, bool]:
    found = {name: record[name] for name in FLAGS if name in record}
    if wrong := [name for name in found if not isinstance(found[name], bool)]:
        raise CheckpointError(
            f"{where}: {wrong[0]} must be true or false, got {found[wrong[0]]!r}."
        )
    return found


def _listed(records: Any, path: Path) -> Iterator[Declared]:
    """The added_tokens_decoder of tokenizer_config.json."""
    where = f"{path}, added_tokens_decoder"
    if not isinstance(records, dict):
        raise CheckpointError(f"{where}: expected an object, got {_kind(records)}.")
    for key, record in records.items():
        token = _token(record, f"{where}, {key!r}")
        if not key.isascii() or not key.isdigit():
            raise CheckpointError(f"{where}: expected ids as keys, got {key!r}.")
        flags = _flags(record, where) if isinstance(record, dict) else {}
        yield Declared(path.name, int(key), token.content, flags)


def _one_added(content: str, index: Any, folder: Path) -> Declared:
    if (
        isinstance(index, bool)
        or not isinstance(index, int)
        or index < 0
        or not content
    ):
        raise CheckpointError(
            f"{folder / 'added_tokens.json'}: expected tokens with their ids, got "
            f"{content!r}: {index!r}."
        )
    return Declared("added_tokens.json", index, content, {})


def _extra(
    settings: dict[str, Any], beside: dict[str, Any], where: str
) -> Iterator[Any]:
    """Special tokens without a role here (image_token), in transformers' order."""
    records = (settings, beside)
    for key, value in (pair for record in records for pair in record.items()):
        own = key.endswith("_token") and key not in NAMES
        if own and isinstance(value, str | dict):
            yield value
    for record in records:
        for key in ("extra_special_tokens", "additional_special_tokens"):
            tokens = record.get(key) or []
            if not isinstance(tokens, list | dict):
                raise CheckpointError(
                    f"{where}, {key}: expected a list or an object, got "
                    f"{_kind(tokens)}."
                )
            yield from tokens.values() if isinstance(tokens, dict) else tokens


def _chat_template(given: Any, folder: Path) -> str | dict[str, str] | None:
    """The templates of tokenizer_config.json, replaced by those that files give."""
    where = f"{folder / CONFIG}, chat_template"
    if given is None or isinstance(given, str):
        found = {} if given is None else {"default": given}
    elif isinstance(given, dict):
        found = dict(given)
    elif isinstance(given, list) and all(
        isinstance(one, dict) and {"name", "template"} <= one.keys() for one in given
    ):
        found = {one["name"]: one["template"] for one in given}
    else:
        raise CheckpointError(
            f"{where}: expected a template, or a list of objects with name and "
            f"template, got {_kind(given)}."
        )
    if not all(isinstance(one, str) for pair in found.items() for one in pair):
        raise CheckpointError(f"{where}: names and templates must be strings.")
    files = {"default": folder / "chat_template.jinja"} | {
        path.stem: path for path in folder.glob("additional_chat_templates/*.jinja")
    }
    for name, path in files.items():
        if path.exists():
            found[name] = read_text(path, raises=CheckpointError)
    return found["default"] if found.keys() == {"default"} else found or None


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a string", dict: "an object", type(None): "null"}
    return names.get(type(value), "a number")
