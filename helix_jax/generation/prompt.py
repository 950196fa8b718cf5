"""Prompts and chats as the source reads them; the tokens at which the target stops."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.generation.reading import Reader, Reading, open_reading
from helix_jax.text.tokens import copy_backend
from helix_jax.textfile import read_json

Prompt = str | Sequence[Mapping[str, str]]


def read_prompt(
    reader: Reader,
    tokenizer: Any,
    prompt: Prompt,
    *,
    chat: bool,
    special_tokens: bool,
    where: str,
) -> Reading:
    """A prompt in the source's tokens.

    Args:
      reader: of the pair.
      tokenizer: the source's.
      prompt: a text, or with `chat` a list of {"role", "content"}.
      chat: render the messages with the source's chat template.
      special_tokens: read spellings of special tokens in the prompt as these tokens;
        otherwise they are plain text, and refused in a chat.
      where: "prompt 3", for messages.

    Raises:
      ValueError: the prompt is empty or not valid Unicode, there is no chat template,
        or it refuses the messages.
    """
    if chat:
        text = render_chat(tokenizer, prompt, special_tokens, where)
    elif isinstance(prompt, str):
        text = prompt
    else:
        raise ValueError(
            f"{where} must be a string, got {type(prompt).__name__}; lists of messages "
            "need chat=True."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where} is not valid Unicode ({error.reason} at character "
            f"{error.start}); decode its bytes with errors='replace'."
        ) from error
    prefix = () if chat else leading_tokens(tokenizer)
    if chat or special_tokens:
        reading = _open_parsed(reader, tokenizer, prefix, text, where)
    else:
        reading = open_reading(reader, prefix, text, behind=False)
    if not reading.ids:
        raise ValueError(
            f"{where} is empty, and the source's tokenizer adds no beginning token; "
            "give it some text."
        )
    return reading


def render_chat(
    tokenizer: Any, messages: Prompt, special_tokens: bool, where: str
) -> str:
    """The text of a chat by the chat template, up to where the answer begins."""
    from jinja2 import TemplateError

    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "chat=True needs a chat template, and the source's tokenizer has none; "
            "give plain prompts, or set tokenizer.chat_template."
        )
    kinds = (str, bytes, Mapping)
    if isinstance(messages, kinds) or not all(
        isinstance(one, Mapping) and isinstance(one.get("content"), str)
        for one in messages
    ):
        raise ValueError(
            f"{where} must be a list of messages with 'role' and 'content' strings "
            "for chat=True."
        )
    for one in messages:
        for spelling in _special(tokenizer).values() if not special_tokens else ():
            if spelling in one["content"]:
                raise ValueError(
                    f"{where}: a message holds {spelling!r}, the spelling of a special "
                    "token; take it out, or pass special_tokens=True to mean it."
                )
    try:
        return tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True
        )
    except (TemplateError, ValueError, TypeError) as error:
        # ValueError: several templates, and none of them is the default.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{where}: the source's chat template refuses the messages: {reason}"
        ) from error


@lru_cache(maxsize=8)
def leading_tokens(tokenizer: Any) -> tuple[int, ...]:
    """The special tokens that a tokenizer puts before every text."""
    encoded = copy_backend(tokenizer.backend_tokenizer).encode("a")
    count = encoded.special_tokens_mask.index(0)
    return tuple(encoded.ids[:count])


def end_of_turn(tokenizer: Any) -> int | None:
    """The special token after an answer in the tokenizer's chat template, if any."""
    from jinja2 import TemplateError

    if not getattr(tokenizer, "chat_template", None):
        return None
    answer = "answer"
    messages = [
        {"role": "user", "content": "question"},
        {"role": "assistant", "content": answer},
    ]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False)
    except (TemplateError, ValueError, TypeError):
        return None
    if answer not in text:
        return None
    behind = text[text.rindex(answer) + len(answer) :]
    special = _special(tokenizer)
    ids = tokenizer(behind, add_special_tokens=False)["input_ids"]
    return next((index for index in ids if index in special), None)


def stop_ids(
    source: Any, target: Any, vocabulary: int, *, extra: Sequence[int | str], chat: bool
) -> set[int]:
    """The target tokens that end a text.

    They are the target's end and beginning of text, the target's tokens that are
    spelled like those of the source, `extra`, and in a chat the target's end of turn.

    Args:
      source, target: the tokenizers.
      vocabulary: V, rows of the target's head.
      extra: ids or spellings of further tokens.
      chat: whether the end of a turn ends a text.

    Raises:
      ValueError: the target has no such extra token.
    """
    index_of = target.backend_tokenizer.token_to_id
    names = [
        token
        for tokenizer in (source, target)
        for token in (tokenizer.eos_token, tokenizer.bos_token)
        if token is not None
    ]
    stops = {index for name in names if (index := index_of(name)) is not None}
    if chat and (turn := end_of_turn(target)) is not None:
        stops.add(turn)
    for stop in extra:
        index = index_of(stop) if isinstance(stop, str) else int(stop)
        if index is None or not 0 <= index < vocabulary:
            raise ValueError(f"the target has no token {stop!r} to stop at.")
        stops.add(index)
    return {index for index in stops if index < vocabulary}


def declared_stops(folder: Path) -> tuple[int, ...]:
    """The eos_token_id of a folder's generation_config.json; empty without one.

    Raises:
      CheckpointError: the file is damaged or does not hold token ids.
    """
    file = Path(folder) / "generation_config.json"
    record = read_json(file, raises=CheckpointError) if file.is_file() else {}
    declared = record.get("eos_token_id") if isinstance(record, dict) else "a list"
    if declared is None:
        return ()
    stops = declared if isinstance(declared, list) else [declared]
    if not all(type(stop) is int and stop >= 0 for stop in stops):
        raise CheckpointError(
            f"{file}: eos_token_id must be a token id or a list of them, got "
            f"{declared!r}; correct it, or remove the file."
        )
    return tuple(stops)


def _open_parsed(
    reader: Reader, tokenizer: Any, prefix: Sequence[int], text: str, where: str
) -> Reading:
    """A reading whose text begins after the last special token that it spells."""
    backend = copy_backend(tokenizer.backend_tokenizer)
    backend.encode_special_tokens = False
    encoded = backend.encode(text, add_special_tokens=False)
    special = _special(tokenizer)
    last = max(
        (i for i, index in enumerate(encoded.ids) if index in special), default=-1
    )
    start = encoded.offsets[last][1] if last >= 0 else 0
    whole = [*prefix, *encoded.ids]
    if last < 0:
        return open_reading(reader, prefix, text, behind=False)
    opening = [*prefix, *encoded.ids[: last + 1]]
    for behind in (True, False):
        reading = open_reading(reader, opening, text[start:], behind=behind)
        if reading.ids == whole:
            return reading
    raise ValueError(
        f"{where}: the source's tokenizer reads the text after the special token "
        f"{encoded.tokens[last]!r} differently from that text alone; this kind "
        "of tokenizer is not supported with special tokens in a prompt."
    )


def _special(tokenizer: Any) -> dict[int, str]:
    """id -> spelling of every special token."""
    added = tokenizer.added_tokens_decoder.items()
    return {index: token.content for index, token in added if token.special}
