"""What a claim, a finding and the bench that they are tested on are."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from helix_jax.stats import Interval

HOLDS, PARTLY, FAILS = "holds", "holds in part", "does not hold"
UNTESTABLE = "not testable here"
VERDICTS = (HOLDS, PARTLY, FAILS, UNTESTABLE)


@dataclasses.dataclass(frozen=True)
class Bench:
    """Models, corpora and settings that claims are tested with.

    Attributes:
      folder: work directory; every check has folders of its own in it.
      pairs: (source, target) models, each a folder or hub id.
      generators: pairs that generate text; decoders.
      corpora: the paper's name of a data set -> name, file or folder for --data.
      public: corpus of public text.
      tokenizers: name -> folder or hub id.
      options: flags that every run shares: limit, max_tokens, stores ...
      few: texts of the task beside public text.
      tiny: settings of a test.
    """

    folder: Path
    pairs: tuple[tuple[str, str], ...]
    generators: tuple[tuple[str, str], ...]
    corpora: Mapping[str, str]
    public: str
    tokenizers: Mapping[str, str]
    options: Mapping[str, object]
    few: int = 128
    tiny: bool = False

    def config(self, kind: type, *place: str, **flags: object) -> Any:
        """A config of an experiment: the shared options that it has, and its own.

        Args:
          kind: dataclass of the experiment.
          place: names of its work directory inside the bench's folder.
          flags: of the experiment.
        """
        names = {field.name for field in dataclasses.fields(kind)}
        shared = {name: one for name, one in self.options.items() if name in names}
        return kind(workdir=self.place(*place), **{**shared, **flags})

    def place(self, *names: str) -> str:
        """A work directory inside the bench's folder."""
        return str(self.folder.joinpath(*names))


class Finding(NamedTuple):
    """What came of a claim here.

    Attributes:
      ours: the numbers, with their intervals, as text.
      verdict: HOLDS, PARTLY, FAILS or UNTESTABLE.
      why: the rule that the verdict follows, or what is missing.
      numbers: name -> value for the summary.
    """

    ours: str
    verdict: str
    why: str
    numbers: Mapping[str, float] = {}


class Case(NamedTuple):
    """What came of a claim on one pair of models, tokenizers or data sets.

    Attributes:
      said: its numbers as text.
      holds: None where the claim does not apply to it.
      numbers: name -> value for the summary.
    """

    said: str
    holds: bool | None
    numbers: Mapping[str, float] = {}


class Claim(NamedTuple):
    """Something that the paper says.

    Attributes:
      name: short, for folders and the summary.
      statement: in a sentence.
      paper: its numbers.
      check: tests it on a bench.
    """

    name: str
    statement: str
    paper: str
    check: Callable[[Bench], Finding]


def verdict_of(outcomes: Sequence[bool]) -> str:
    """HOLDS where every case does, FAILS where none does."""
    if not outcomes:
        return UNTESTABLE
    return HOLDS if all(outcomes) else PARTLY if any(outcomes) else FAILS


def tally(cases: Iterable[Case], why: str, *, none: Finding | None = None) -> Finding:
    """The cases of a claim side by side, and the verdict on them together.

    Args:
      cases: in the order in which they are said.
      why: the rule that each case follows.
      none: the finding where the claim applies to no case.
    """
    cases = list(cases)
    said = "; ".join(case.said for case in cases)
    outcomes = [case.holds for case in cases if case.holds is not None]
    if none is not None and not outcomes:
        return none._replace(ours=said)
    numbers = {name: one for case in cases for name, one in case.numbers.items()}
    return Finding(said, verdict_of(outcomes), why, numbers)


def untestable(why: str) -> Finding:
    """A claim that cannot be tested here, and why."""
    return Finding("", UNTESTABLE, why)


def missing(what: str) -> Finding:
    """A claim for which something is not at hand."""
    return untestable(f"there is no {what} here")


def show(interval: Interval, *, scale: float = 100, digits: int = 1) -> str:
    """ "1.2 [0.3, 2.0]" of an interval."""
    value, low, high = (f"{scale * float(one):.{digits}f}" for one in interval)
    return f"{value} [{low}, {high}]"


def interval_of(summary: Mapping[str, float], name: str) -> Interval:
    """The interval under name, name_low and name_high of a summary."""
    return Interval(*(summary[f"{name}{end}"] for end in ("", "_low", "_high")))
