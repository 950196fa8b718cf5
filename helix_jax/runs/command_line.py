"""Parse a command line into absl flags: each argument is understood, or refused.

absl itself stops at the first argument that is not a flag and returns the rest, lets
the last of two values win, and takes a flag as the value of the one before it. Here
every argument must be part of a flag, except those after `--`, which belong to the
program.
"""

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags

from helix_jax.errors import RunError
from helix_jax.near_names import did_you_mean
from helix_jax.paths import expand_path
from helix_jax.textfile import read_lines

_NUMBER = re.compile(r"[-+]?[\d.][\d.,eE+_-]*")
_TRUE, _FALSE = ("true", "yes", "on", "1", "t"), ("false", "no", "off", "0", "f")


class Given(NamedTuple):
    """One flag as written.

    Attributes:
      name: name of the flag.
      value: its text.
      written: the arguments from which it was read.
      source: the file that held them; empty for the command line.
    """

    name: str
    value: str
    written: str
    source: str


def parse_flags(
    words: Sequence[str], known: flags.FlagValues, *, own_words: bool = False
) -> list[str]:
    """Set flags from the arguments of a command line.

    A flag on the command line overrides the same flag of a file (--flagfile).

    Args:
      words: the arguments, without the program's name.
      known: the flags; parsed afterwards.
      own_words: whether the program takes arguments after `--`.

    Returns:
      The arguments after `--`; none unless `own_words`.

    Raises:
      RunError: there is an unknown flag, a word that is part of no flag, or a flag
        without a value, with two different values or with an invalid one; names all of
        a kind.
    """
    given, left_over, rest = _split(words, known, "")
    if rest and not own_words:
        left_over += [(word, None) for word in rest]
    unknown = [one for one in given if one.name not in known]
    if unknown:
        raise RunError("; ".join(_unknown(one.written, known) for one in unknown) + ".")
    if left_over:
        raise RunError(_left_over(left_over, known, own_words=own_words))
    for flag in _without_repeats(given, known):
        _set(known[flag.name], flag)
    known.mark_as_parsed()
    return rest if own_words else []


def _split(
    words: Sequence[str], known: flags.FlagValues, source: str
) -> tuple[list[Given], list[tuple[str, Given | None]], list[str]]:
    """Flags; other arguments, each with the flag before it; arguments after `--`."""
    given: list[Given] = []
    left_over: list[tuple[str, Given | None]] = []
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--":
            return given, left_over, words
        if not word.startswith("-") or word == "-" or _NUMBER.fullmatch(word):
            left_over.append((word, given[-1] if given else None))
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name == "flagfile":
            path = value if equals else _next_value(word, words, known)
            inner = _split(list(_flag_lines(path, source)), known, path)
            given += inner[0]
            left_over += inner[1]
            continue
        negated = name.removeprefix("no")
        if name in known and known[name].boolean:
            value = value if equals else "true"
        elif name not in known and negated in known and known[negated].boolean:
            if equals:
                raise RunError(
                    f"{word}: --no{negated} takes no value; write --no{negated} or "
                    f"--{negated}=false."
                )
            name, value = negated, "false"
        elif name in known and not equals:
            value = _next_value(word, words, known)
            word = f"{word} {value}"
        given.append(Given(name, value, word, source))
    return given, left_over, []


def _next_value(word: str, words: list[str], known: flags.FlagValues) -> str:
    """The argument after a flag, which must not be a flag itself."""
    following = words[0].lstrip("-").partition("=")[0] if words else ""
    is_flag = (
        words
        and words[0].startswith("-")
        and (
            following in known
            or following.removeprefix("no") in known
            or words[0] == "--"
        )
    )
    if not words or is_flag:
        found = f"{words[0]} follows it" if words else "it is the last word"
        raise RunError(f"{word} needs a value, but {found}; write {word}=VALUE.")
    return words.pop(0)


def _flag_lines(path: str, source: str) -> Iterator[str]:
    """The flags of a file, one per line; `#` and `//` begin comments."""
    if not path.strip():
        raise RunError("--flagfile is empty; name a file with one flag per line.")
    if source:
        raise RunError(
            f"{source} holds --flagfile={path}; give it on the command line instead."
        )
    for line in read_lines(Path(expand_path(path)), raises=RunError):
        if line.strip() and not line.startswith(("#", "//")):
            yield line.strip()


def _unknown(written: str, known: flags.FlagValues) -> str:
    name = written.lstrip("-").partition("=")[0]
    names = [one for one in known if one not in ("help", "flagfile")]
    names += [f"no{one}" for one in names if known[one].boolean]
    advice = did_you_mean(
        name, names, form="did you mean --{}?", otherwise="--help lists the flags"
    )
    return f"there is no flag --{name} ({advice})"


def _left_over(
    words: list[tuple[str, Given | None]], known: flags.FlagValues, *, own_words: bool
) -> str:
    """Name each argument that is not part of a flag, and say what to write instead."""
    groups: list[tuple[Given | None, list[str]]] = []
    for word, flag in words:
        if groups and groups[-1][0] is flag:
            groups[-1][1].append(word)
        else:
            groups.append((flag, [word]))
    said = [
        f"{', '.join(map(repr, own))} {_remedy(flag, own, known)}"
        for flag, own in groups
    ]
    ending = " (words for the experiment come after --)" if own_words else ""
    many = "words are" if len(words) > 1 else "word is"
    return f"{len(words)} {many} not part of a flag: {'; '.join(said)}{ending}."


def _remedy(before: Given | None, words: list[str], known: flags.FlagValues) -> str:
    if before is None:
        return "at the start; write --FLAG=VALUE"
    name, flag = before.name, known[before.name]
    if flag.boolean and words[0].lower() in _FALSE:
        return f"after --{name}; write --no{name} or --{name}=false"
    if flag.boolean and words[0].lower() in _TRUE:
        return f"after --{name}; write --{name} or --{name}=true"
    if flag.boolean:
        return f"after --{name}, which is on or off; write --{name} or --no{name}"
    parts = [before.value, *words]
    if is_list(flag):
        joined = ",".join(part.strip(", ") for part in parts if part.strip(", "))
        return f"after {before.written}; write --{name}={shlex.quote(joined)}"
    if flag.flag_type() in ("int", "float"):
        return f"after {before.written}; --{name} takes one number"
    return f"after {before.written}; write --{name}={shlex.quote(' '.join(parts))}"


def is_list(flag: flags.Flag) -> bool:
    """Whether the value of a flag is a comma-separated list."""
    return isinstance(flag.parser, flags.BaseListParser)


def _without_repeats(given: list[Given], known: flags.FlagValues) -> Iterator[Given]:
    """Each flag once: those of files, then the others; multi flags unchanged."""
    first: dict[tuple[str, str], Given] = {}
    for flag in given:
        before = first.setdefault((flag.name, flag.source), flag)
        if isinstance(known[flag.name], flags.MultiFlag) or before.value == flag.value:
            continue
        remedy = "give it once"
        if is_list(known[flag.name]):
            remedy = f"write --{flag.name}={before.value},{flag.value} for both"
        raise RunError(
            f"--{flag.name} is given twice, as {before.value!r} and {flag.value!r}; "
            f"{remedy}."
        )
    yield from sorted(given, key=lambda flag: not flag.source)


def _set(flag: flags.Flag, given: Given) -> None:
    """Parse a value, which must be finite and of the flag's type."""
    value, name = given.value, flag.name
    if flag.boolean and value.lower() not in (*_TRUE, *_FALSE):
        raise RunError(f"--{name}={value}: expected true or false.")
    if flag.boolean:
        value = "true" if value.lower() in _TRUE else "false"
    if flag.flag_type() == "int":
        _require_whole(name, value)
    if flag.flag_type() == "float":
        _require_finite(name, value)
    try:
        flag.parse(value)
    except (flags.IllegalFlagValueError, ValueError) as error:
        raise RunError(f"{_one_line(error)}.".replace("..", ".")) from error
    flag.using_default_value = False


def _require_whole(name: str, text: str) -> None:
    try:
        value = int(text)
    except ValueError:
        try:
            near = float(text.replace(",", ""))
        except ValueError:
            near = math.nan
        whole = math.isfinite(near) and near == int(near)
        hint = f"; write --{name}={int(near)}" if whole else ""
        raise RunError(
            f"--{name}={text}: expected a whole number, such as 100{hint}."
        ) from None
    if not -(2**63) <= value < 2**63:
        raise RunError(f"--{name}={text}: expected a whole number below 2^63.")


def _require_finite(name: str, text: str) -> None:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RunError(f"--{name}={text}: expected a finite number, such as 0.5.")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
