"""The bench that claims are tested on, and the decorator that makes a claim."""

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
      folder: work directory; every check has its own folders in it.
      pairs: (source, target) models, each a folder or hub id.
      generators: pairs of decoders that generate text.
      corpora: the paper's name of a data set -> the corpus for --data.
      public: corpus of public text.
      tokenizers: name -> folder or hub id.
      options: flags that every run shares: limit, max_tokens, stores ...
      few: number of in-distribution texts to add to public text.
      tiny: settings of a test.
      causal: causal models; every ordered pair of them is tested.
      trained: names of further causal models, which `compatibility` trains.
      plateau_texts: number of texts of the learning curve.
      token_pairs: number of pairs that maps of tokens are fitted on.
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
        """Whether there are too few texts for the token pairs of a full run."""
        return self.options["limit"] < 1000

    def config(self, program: Experiment, *place: str, **flags: object) -> Any:
        """The config of a program: the shared options that it has, and its own flags.

        Args:
          program: the `compute` of its module.
          place: names of its work directory inside the bench's folder.
          flags: of the program.
        """
        return program.config(self.options, workdir=self.place(*place), **flags)

    def run(
        self, program: Experiment, *place: str, **flags: object
    ) -> Mapping[str, float]:
        """The summary of a program, which is run if it has not been; see `config`."""
        return program.run(self.config(program, *place, **flags))

    def run_pair(
        self, program: Experiment, pair: tuple[str, str], *place: str, **flags: object
    ) -> Mapping[str, float]:
        """The summary of a program that has a source and a target."""
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
    """Make a claim from a function that yields its cases on a bench.

    Args:
      paper: the paper's numbers.
      none: why the claim cannot be tested, if it yields no case.
      needs: data sets of which one is required.
      name: of the claim; by default that of the function.
      statement: what is claimed; by default the first paragraph of the docstring.
      rule: by which a case holds, where "{few}" stands for `Bench.few`; by default the
        second paragraph.
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
    """Why a claim cannot be tested if something that it needs is missing."""
    return f"there is no {what} here"


def names_of(pair: tuple[str, str]) -> str:
    """ "A to B", the names of two models."""
    return " to ".join(map(short_name, pair))


def values(summary: Mapping[str, float], start: str, *names: str) -> list[float]:
    """Numbers of a summary whose names all begin with `start`."""
    return [summary[f"{start}{name}"] for name in names]


def read(summary: Mapping[str, float], name: str) -> Interval:
    """A number of a summary with its interval."""
    return Interval(*read_interval(summary, name))


def show(interval: Interval, *, scale: float = 100, digits: int = 1) -> str:
    """An interval as "1.2 [0.3, 2.0]"."""
    return format_interval({"": interval}, "", scale=scale, digits=digits) or "-"
