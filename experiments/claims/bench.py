"""The bench that claims are tested on, and how a function becomes a claim."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.pairs import short_name
from helix_jax.reports import format_interval, read_interval
from helix_jax.reports.ledger import UNTESTABLE, Case, Claim, Finding, tally
from helix_jax.runs import Experiment
from helix_jax.stats import Interval


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
      causal: causal models of any kind, of which every ordered pair is tested.
      trained: names of more of them, which `compatibility` trains.
      plateau_texts: texts of the learning curve.
      token_pairs: that maps of tokens are fitted on.
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
    causal: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    plateau_texts: int = 20_000
    token_pairs: int = 150_000

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
        words = [" ".join(part.split()) for part in (cases.__doc__ or "").split("\n\n")]

        def check(bench: Bench) -> Finding:
            if needs and not bench.corpora.keys() & set(needs):
                return Finding("", UNTESTABLE, missing(" or ".join(needs)))
            why = (rule or words[1]).format(few=bench.few)
            return tally(cases(bench), why, none=none)

        return Claim(name or cases.__name__, statement or words[0], paper, check)

    return decorate


def untestable(name: str, statement: str, paper: str, why: str) -> Claim:
    """A claim that cannot be tested on any bench, and why."""
    return Claim(name, statement, paper, lambda _: Finding("", UNTESTABLE, why))


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
