"""What a claim, a case and a finding are, and the bench that claims are tested on."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.pairs import short_name
from helix_jax.reports import format_interval, read_interval
from helix_jax.runs.experiment import Experiment
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

    @property
    def small(self) -> bool:
        """Whether there are too few texts for the pairs of tokens of a real run."""
        return self.options["limit"] < 1000

    def config(self, program: Experiment, *place: str, **flags: object) -> Any:
        """A config of a program: the shared options that it has, and its own.

        Args:
          program: the `compute` of its module.
          place: names of its work directory inside the bench's folder.
          flags: of the program.
        """
        return program.config(self.options, workdir=self.place(*place), **flags)

    def run(
        self, program: Experiment, *place: str, **flags: object
    ) -> Mapping[str, float]:
        """The summary of a program, which runs where it has not; see `config`."""
        return program.run(self.config(program, *place, **flags))

    def run_pair(
        self, program: Experiment, pair: tuple[str, str], *place: str, **flags: object
    ) -> Mapping[str, float]:
        """The same of a program with a source and a target."""
        source, target = pair
        place = (*place, names_of(pair).replace(" ", "-"))
        return self.run(program, *place, source=source, target=target, **flags)

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


def claim(
    paper: str,
    *,
    none: str = "",
    needs: Sequence[str] = (),
    name: str = "",
    statement: str = "",
    rule: str = "",
) -> Callable[[Callable[[Bench], Iterable[Case]]], Claim]:
    """Make a claim of a function that yields its cases on a bench.

    Args:
      paper: its numbers.
      none: why the claim cannot be tested where it applies to no case.
      needs: data sets of which one has to be at hand.
      name: of the claim; that of the function.
      statement: what is claimed; the first paragraph of the function's docstring.
      rule: that each case follows, "{few}" stands for the bench's; the second one.
    """

    def decorate(cases: Callable[[Bench], Iterable[Case]]) -> Claim:
        said = [" ".join(part.split()) for part in (cases.__doc__ or "").split("\n\n")]

        def check(bench: Bench) -> Finding:
            if needs and not bench.corpora.keys() & set(needs):
                return Finding("", UNTESTABLE, missing(" or ".join(needs)))
            why = (rule or said[1]).format(few=bench.few)
            return tally(cases(bench), why, none=none)

        return Claim(name or cases.__name__, statement or said[0], paper, check)

    return decorate


def untestable(name: str, statement: str, paper: str, why: str) -> Claim:
    """A claim that cannot be tested on any bench, and why."""
    return Claim(name, statement, paper, lambda _: Finding("", UNTESTABLE, why))


def tally(cases: Iterable[Case], why: str, *, none: str = "") -> Finding:
    """The cases of a claim side by side, and the verdict on them together.

    Args:
      cases: in the order in which they are said.
      why: the rule that each case follows.
      none: why the claim cannot be tested where it applies to no case.
    """
    cases = list(cases)
    said = "; ".join(case.said for case in cases)
    outcomes = [case.holds for case in cases if case.holds is not None]
    if none and not outcomes:
        return Finding(said, UNTESTABLE, none)
    numbers = {name: value for case in cases for name, value in case.numbers.items()}
    return Finding(said, verdict_of(outcomes), why, numbers)


def verdict_of(outcomes: Sequence[bool]) -> str:
    """HOLDS where every case does, FAILS where none does."""
    if not outcomes:
        return UNTESTABLE
    return HOLDS if all(outcomes) else PARTLY if any(outcomes) else FAILS


def missing(what: str) -> str:
    """Why a claim cannot be tested for which something is not at hand."""
    return f"there is no {what} here"


def names_of(pair: tuple[str, str]) -> str:
    """ "A to B" of two models."""
    return " to ".join(map(short_name, pair))


def values(summary: Mapping[str, float], start: str, *names: str) -> list[float]:
    """Some numbers of a summary, whose names begin alike."""
    return [summary[f"{start}{name}"] for name in names]


def read(summary: Mapping[str, float], name: str) -> Interval:
    """A number of a summary with its interval."""
    return Interval(*read_interval(summary, name))


def show(interval: Interval, *, scale: float = 100, digits: int = 1) -> str:
    """ "1.2 [0.3, 2.0]" of an interval."""
    return format_interval({"": interval}, "", scale=scale, digits=digits) or "-"
