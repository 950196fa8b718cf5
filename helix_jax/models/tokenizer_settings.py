"""Applies the settings beside a vocabulary to its tokenizer, or refuses them by name.

The vocabulary's own file decides: of the others, only explicit settings are applied,
and those that contradict it are refused.

    add_bos_token, add_eos_token       true: texts begin (end) with it; false: never
    special and added tokens           are found in texts, with the declared ids
    do_lower_case, strip_accents,      must be what the vocabulary's file does
      tokenize_chinese_chars, add_prefix_space
    padding and truncation             are left to the caller
"""

import json
from collections.abc import Iterator
from typing import Any

from tokenizers import AddedToken, Tokenizer, models

from helix_jax.errors import CheckpointError
from helix_jax.models.tokenizer_files import CONFIG, Declared, TokenizerFiles

_TEXT = 2**32 - 1  # an id that no vocabulary has
# Setting -> a text, and what a normalizer that honours the setting makes of it.
_NORMALISED = {
    "do_lower_case": ("A", "a"),
    "strip_accents": ("\u00e9", "e"),
    "tokenize_chinese_chars": ("\u6f22", " \u6f22 "),
}


def apply_settings(core: Tokenizer, files: TokenizerFiles) -> None:
    """Apply the settings of the files to a tokenizer.

    Args:
      core: from the vocabulary's own file; changed in place.
      files: from `read_tokenizer_files`.

    Raises:
      CheckpointError: the files contradict each other, or ids would be random.
    """
    core.no_padding()
    core.no_truncation()
    if getattr(core.model, "dropout", None):
        raise CheckpointError(
            f"{files.folder}: the tokenizer merges at random (dropout "
            f"{core.model.dropout:g}); set dropout to null in its model."
        )
    _check_normalizer(core, files)
    _check_prefix_space(core, files)
    for declared in sorted(files.added, key=lambda token: token.index):
        _add_declared(core, declared, files)
    known = {token.content for token in core.get_added_tokens_decoder().values()}
    for token in (*files.special.values(), *files.extra):
        if token.content not in known:
            core.add_tokens([token])
    _frame_texts(core, files)


def _check_normalizer(core: Tokenizer, files: TokenizerFiles) -> None:
    for name, (text, changed) in _NORMALISED.items():
        asked = files.settings.get(name)
        if asked is None or (core.normalizer is None and not asked):
            continue
        normalizer = core.normalizer
        done = normalizer is not None and changed in normalizer.normalize_str(text)
        if done != asked:
            raise _contradiction(files, name, asked)


def _check_prefix_space(core: Tokenizer, files: TokenizerFiles) -> None:
    asked = files.settings.get("add_prefix_space")
    steps = [*_steps(core.normalizer), *_steps(core.pre_tokenizer)]
    spaced = [step for step in steps if step["type"] in ("Prepend", "Metaspace")]
    # Of ByteLevel pre-tokenizers; the normalizer of that name adds no space.
    levels = [step for step in steps if "add_prefix_space" in step]
    done = any(step.get("prepend_scheme") != "never" for step in spaced) or any(
        step["add_prefix_space"] for step in levels
    )
    if asked is not None and (spaced or levels) and done != asked:
        raise _contradiction(files, "add_prefix_space", asked)


def _contradiction(files: TokenizerFiles, name: str, asked: bool) -> CheckpointError:
    said, done = (str(one).lower() for one in (asked, not asked))
    return CheckpointError(
        f"{files.folder}: {CONFIG} says {name} is {said}, but the tokenizer's own file "
        f"(tokenizer.json) acts as if it were {done}. The ids differ; find out which "
        "the model was trained with, and change the other."
    )


def _add_declared(core: Tokenizer, token: Declared, files: TokenizerFiles) -> None:
    """Add a token that a file declares, or check that it is there with that id."""
    where = f"{files.folder / token.file}: the token {token.content!r}"
    own, holder = core.token_to_id(token.content), core.id_to_token(token.index)
    if own not in (None, token.index) or holder not in (None, token.content):
        found = f"it has {own}" if own is not None else f"{holder!r} has that id"
        raise CheckpointError(
            f"{where} has id {token.index}, but in the vocabulary {found}; they do "
            "not belong together. Take both files from one version of the model."
        )
    there = core.get_added_tokens_decoder().get(token.index)
    if there is not None:
        for name, value in token.flags.items():
            # Without a normalizer the text is the same before and after it.
            free = name == "special" or (name == "normalized" and not core.normalizer)
            if not free and getattr(there, name) != value:
                raise CheckpointError(
                    f"{where} has {name} {str(value).lower()}, but the tokenizer's own "
                    f"file {str(not value).lower()}. The ids differ; change one."
                )
    names = {one.content for one in (*files.special.values(), *files.extra)}
    special = token.flags.get("special", token.content in names)
    if there is not None and (there.special == special or "special" not in token.flags):
        return
    before = there.__getstate__() if there is not None else {"normalized": not special}
    record = before | {"content": token.content} | token.flags | {"special": special}
    core.add_tokens([AddedToken(**record)])
    if core.token_to_id(token.content) != token.index:
        raise CheckpointError(
            f"{where} has id {token.index}, but the next free id is "
            f"{core.token_to_id(token.content)}: added tokens in between are missing."
        )


def _frame_texts(core: Tokenizer, files: TokenizerFiles) -> None:
    """Make texts begin with BOS and end with EOS, or not, as the settings say."""
    steps = list(_steps(core.post_processor))
    _check_templates(core, files)
    adding = [step for step in steps if step["type"] != "ByteLevel"]
    for role, behind in (("bos", False), ("eos", True)):
        asked = files.settings.get(f"add_{role}_token")
        if asked is None:
            continue
        token = files.special.get(f"{role}_token")
        if token is None and asked:
            raise CheckpointError(
                f"{files.folder / CONFIG}: add_{role}_token is true, but no "
                f"{role}_token is named; name it, or set add_{role}_token to false."
            )
        around = _around(core, behind)
        if token is None or asked == (token.content in around):
            continue
        templates = [step for step in adding if step["type"] == "TemplateProcessing"]
        able = len(templates) == len(adding) <= 1 and not (asked and around)
        if able:
            if not adding:
                adding = [_blank_template()]
                steps = [*steps, *adding]
            _set_frame(adding[0], token.content, core, asked=asked, behind=behind)
            core.post_processor = make_post_processor(
                {"type": "Sequence", "processors": steps}
            )
        if not able or asked != (token.content in _around(core, behind)):
            raise CheckpointError(
                f"{files.folder / CONFIG}: add_{role}_token is {str(asked).lower()}, "
                f"but the tokenizer's own file puts {', '.join(around) or 'nothing'} "
                f"{'after' if behind else 'before'} texts. Make them agree."
            )


def _check_templates(core: Tokenizer, files: TokenizerFiles) -> None:
    """Refuse post-processors that drop or repeat a text."""
    texts = [
        [part["Sequence"]["id"] for part in step["single"] if "Sequence" in part]
        for step in _steps(core.post_processor)
        if "single" in step
    ]
    if any(one != ["A"] for one in texts) or _framed(core).count(_TEXT) != 1:
        raise CheckpointError(
            f"{files.folder}: the templates of the tokenizer's post-processor hold the "
            f"sequences {texts}; expected a text once, as sequence A. Download "
            "tokenizer.json from the model's page again."
        )


def _framed(core: Tokenizer) -> list[int]:
    """Ids of a text of one token, _TEXT, including those that are put around it."""
    text = Tokenizer(models.WordLevel({"a": _TEXT}, "a")).encode("a")
    return core.post_process(text).ids


def _around(core: Tokenizer, behind: bool) -> list[str]:
    """The tokens that are put before a text or, with `behind`, after it."""
    ids = _framed(core)
    place = ids.index(_TEXT)
    return [
        core.id_to_token(one) or str(one)
        for one in (ids[place + 1 :] if behind else ids[:place])
    ]


def _blank_template() -> dict[str, Any]:
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [text],
        "pair": [],
        "special_tokens": {},
    }


def _set_frame(
    step: dict[str, Any], name: str, core: Tokenizer, *, asked: bool, behind: bool
) -> None:
    """Put a token before (`behind`: after) the text of a template, or remove it."""
    single = step["single"]
    place = next(i for i, part in enumerate(single) if "Sequence" in part)
    front, text, back = single[:place], single[place : place + 1], single[place + 1 :]
    if asked:
        part = [{"SpecialToken": {"id": name, "type_id": 0}}]
        front, back = (front, back + part) if behind else (part + front, back)
        index = core.token_to_id(name)
        step["special_tokens"][name] = {"id": name, "ids": [index], "tokens": [name]}
    else:
        own = [
            key
            for key, record in step["special_tokens"].items()
            if record["ids"] == [core.token_to_id(name)]
        ]
        kept = [
            part
            for part in (back if behind else front)
            if part.get("SpecialToken", {}).get("id") not in own
        ]
        front, back = (front, kept) if behind else (kept, back)
    step["single"] = [*front, *text, *back]
    second = json.loads(json.dumps(step["single"]))
    for part in second:
        (value,) = part.values()
        value["type_id"] = 1
        value["id"] = "B" if "Sequence" in part else value["id"]
    step["pair"] = [*step["single"], *second]


def make_post_processor(record: dict[str, Any]) -> Any:
    """The post-processor of the tokenizers library that a JSON record describes."""
    blank = {"type": "BPE", "vocab": {}, "merges": []}
    whole = {"version": "1.0", "model": blank, "post_processor": record}
    return Tokenizer.from_str(json.dumps(whole)).post_processor


def _record(part: Any) -> dict[str, Any]:
    """A normalizer, pre-tokenizer or post-processor as a JSON record."""
    return {"type": None} if part is None else json.loads(part.__getstate__())


def _steps(part: Any) -> Iterator[dict[str, Any]]:
    """The steps of such a part, with sequences flattened."""
    waiting = [_record(part)]
    while waiting:
        step = waiting.pop(0)
        for name in ("normalizers", "pretokenizers", "processors"):
            waiting[:0] = step.get(name, ())
        if step["type"] not in (None, "Sequence"):
            yield step
