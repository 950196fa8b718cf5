"""Claims, their findings, and the ledger of both: text and tables.

A claim is tested on cases, such as pairs of models; it holds on a case or does not, by
a stated rule, and the cases together give the verdict.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from helix_jax.reports.blocks import Block, Table

HOLDS, PARTLY, FAILS = "holds", "holds in part", "does not hold"
UNTESTABLE = "not testable here"
VERDICTS = (HOLDS, PARTLY, FAILS, UNTESTABLE)
HEADER = ("claim", "paper", "found here", "verdict", "rule")


class Finding(NamedTuple):
    """The result of testing a claim here.

    Attributes:
      ours: the numbers, with their intervals, as text.
      verdict: one of VERDICTS.
      why: the rule that the verdict follows, or what is missing.
      numbers: name -> value for the summary.
    """

    ours: str
    verdict: str
    why: str
    numbers: Mapping[str, float] = {}


class Case(NamedTuple):
    """The result of a claim on one pair of models, tokenizers or data sets.

    Attributes:
      told: its numbers as text.
      holds: whether the claim holds; None if it does not apply.
      numbers: name -> value for the summary.
    """

    told: str
    holds: bool | None
    numbers: Mapping[str, float] = {}


class Claim(NamedTuple):
    """A claim of a paper.

    Attributes:
      name: short name, for folders and the summary.
      statement: the claim in a sentence.
      paper: the paper's numbers.
      check: function that tests the claim.
    """

    name: str
    statement: str
    paper: str
    check: Callable[[Any], Finding]


def tally(cases: Iterable[Case], why: str, *, none: str = "") -> Finding:
    """The finding on a claim: its cases side by side, and one verdict on all.

    Args:
      cases: the cases, in the order in which they are listed.
      why: the rule by which the claim holds on a case.
      none: why the claim cannot be tested if it applies to no case.
    """
    cases = list(cases)
    ours = "; ".join(case.told for case in cases)
    outcomes = [case.holds for case in cases if case.holds is not None]
    if none and not outcomes:
        return Finding(ours, UNTESTABLE, none)
    numbers = {name: value for case in cases for name, value in case.numbers.items()}
    return Finding(ours, verdict_of(outcomes), why, numbers)


def verdict_of(outcomes: Sequence[bool]) -> str:
    """HOLDS if every case holds, FAILS if none does, else PARTLY."""
    if not outcomes:
        return UNTESTABLE
    return HOLDS if all(outcomes) else PARTLY if any(outcomes) else FAILS


class Ledger(NamedTuple):
    """Claims in order, and the findings on those that were tested.

    Attributes:
      title: title of the ledger.
      note: explains its numbers.
      claims: the claims, in the order of the ledger.
      findings: name of a claim -> its finding.
    """

    title: str
    note: str
    claims: Sequence[Claim]
    findings: Mapping[str, Finding]

    @property
    def rows(self) -> list[list[str]]:
        """One row per tested claim, with the cells of HEADER."""
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
        """[verdict, number of claims] for each verdict that occurs."""
        verdicts = [found.verdict for found in self.findings.values()]
        return [
            [verdict, verdicts.count(verdict)]
            for verdict in VERDICTS
            if verdict in verdicts
        ]

    @property
    def text(self) -> str:
        """The ledger as Markdown that also reads well as plain text."""
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
