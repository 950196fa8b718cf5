"""Claims, what came of them, and the ledger of both: text and tables.

A claim is tested on cases, such as pairs of models; each holds or does not, by a rule
that is said, and the cases together give the verdict.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from helix_jax.reports.blocks import Block, Table

HOLDS, PARTLY, FAILS = "holds", "holds in part", "does not hold"
UNTESTABLE = "not testable here"
VERDICTS = (HOLDS, PARTLY, FAILS, UNTESTABLE)
HEADER = ("claim", "paper", "found here", "verdict", "rule")


class Finding(NamedTuple):
    """What came of a claim here.

    Attributes:
      ours: the numbers, with their intervals, as text.
      verdict: of VERDICTS.
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
      told: its numbers as text.
      holds: None where the claim does not apply to it.
      numbers: name -> value for the summary.
    """

    told: str
    holds: bool | None
    numbers: Mapping[str, float] = {}


class Claim(NamedTuple):
    """Something that a paper says.

    Attributes:
      name: short, for folders and the summary.
      statement: in a sentence.
      paper: its numbers.
      check: tests it on whatever it is given.
    """

    name: str
    statement: str
    paper: str
    check: Callable[[Any], Finding]


def tally(cases: Iterable[Case], why: str, *, none: str = "") -> Finding:
    """The cases of a claim side by side, and the verdict on them together.

    Args:
      cases: in the order in which they are told.
      why: the rule that each case follows.
      none: why the claim cannot be tested where it applies to no case.
    """
    cases = list(cases)
    ours = "; ".join(case.told for case in cases)
    outcomes = [case.holds for case in cases if case.holds is not None]
    if none and not outcomes:
        return Finding(ours, UNTESTABLE, none)
    numbers = {name: value for case in cases for name, value in case.numbers.items()}
    return Finding(ours, verdict_of(outcomes), why, numbers)


def verdict_of(outcomes: Sequence[bool]) -> str:
    """HOLDS where every case does, FAILS where none does."""
    if not outcomes:
        return UNTESTABLE
    return HOLDS if all(outcomes) else PARTLY if any(outcomes) else FAILS


class Ledger(NamedTuple):
    """Claims in their order, and what came of those that were tested.

    Attributes:
      title: of the ledger.
      note: explains its numbers.
      claims: in the order of the ledger.
      findings: name of a claim -> what came of it.
    """

    title: str
    note: str
    claims: Sequence[Claim]
    findings: Mapping[str, Finding]

    @property
    def rows(self) -> list[list[str]]:
        """One row a tested claim, cells of HEADER."""
        tested = [
            (claim, self.findings[claim.name])
            for claim in self.claims
            if claim.name in self.findings
        ]
        return [
            [claim.statement, claim.paper, found.ours, found.verdict, found.why]
            for claim, found in tested
        ]

    @property
    def counts(self) -> list[list[object]]:
        """Verdict and how many claims have it, of those that any has."""
        verdicts = [found.verdict for found in self.findings.values()]
        return [
            [verdict, verdicts.count(verdict)]
            for verdict in VERDICTS
            if verdict in verdicts
        ]

    @property
    def text(self) -> str:
        """Markdown that reads well as plain text too."""
        counts = "; ".join(f"{verdict}: {count}" for verdict, count in self.counts)
        parts = [f"# {self.title}", self.note, counts]
        for statement, paper, ours, verdict, rule in self.rows:
            cases = "".join(f"\n  - {case}" for case in ours.split("; ") if case)
            parts.append(f"## {statement}\n\n**{verdict}**: {rule}")
            parts.append(f"- paper: {paper}\n- here:{cases or ' -'}")
        return "\n\n".join(parts) + "\n"

    @property
    def blocks(self) -> list[Block]:
        """How many claims have each verdict, and the ledger itself."""
        return [
            Table("Verdicts", ["verdict", "claims"], self.counts),
            Table(self.title, HEADER, self.rows, note=self.note),
        ]
