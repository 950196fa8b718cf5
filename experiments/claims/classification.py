"""Claims on the target's classifier read on mapped states."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments import classify
from experiments.claims.bench import (
    Bench,
    claim,
    missing,
    names_of,
    show,
    untestable,
    values,
)
from helix_jax.reports.ledger import Case, Claim
from helix_jax.stats import Interval, at_most, exact_fraction
from helix_jax.transfer.task import compare_arms

# Task -> what is claimed, the paper's numbers, and the largest loss among them.
FEW = "A map fitted on the texts of {} costs the target's classifier few points of "
FEW += "accuracy."
SMALL = "On {}, a pair task, the map's loss is small too."
OWN_MAPS = {
    "sst2": (FEW, "0.7 to 2.7 points", 2.7),
    "trec": (FEW, "0.4 to 5.8 points", 5.8),
    "ag_news": (FEW, "0.1 to 1.0 points", 1.0),
    "dbpedia": (FEW, "0.1 to 0.3 points", 0.3),
    "mnli": (FEW, "0.8 to 26.6 points", 26.6),
    "mrpc": (SMALL, "F1 80.2 in distribution, 77.8 by IMDB", 5.0),
    "rte": (SMALL, "accuracy 61.0 in distribution, 59.6 by IMDB", 5.0),
}
# Tasks far from public text in the paper's table of maps fitted on public text.
FAR = ("trec", "dbpedia", "ag_news")


class TaskRun(NamedTuple):
    """A finished run of experiments.classify.

    Attributes:
      names: "A to B", of the models.
      folder: its work directory.
      texts: number of texts of the test split.
      learned: whether the interval of the target's accuracy is above the share of the
        largest class.
    """

    names: str
    folder: Path
    texts: int
    learned: bool

    @property
    def key(self) -> str:
        """A/B, which the names of its numbers contain."""
        return self.names.replace(" to ", "/")


def task_runs(bench: Bench, task: str) -> Iterator[TaskRun]:
    """Runs of a task with every pair of models; each is run once."""
    for pair in bench.pairs:
        place = ("classify", task)
        summary = bench.run_pair(
            classify.compute,
            pair,
            *place,
            data=bench.corpora[task],
            public=bench.public,
            few_shot=(bench.few,),
        )
        accuracy, largest = values(
            summary, "test/", "target_accuracy_low", "majority_accuracy"
        )
        yield TaskRun(
            names_of(pair),
            Path(bench.place(*place, names_of(pair).replace(" ", "-"))),
            summary["data/test_texts"],
            accuracy > largest,
        )


def own_map(task: str, statement: str, paper: str, most: float) -> Claim:
    """A claim on one task; a case holds if its loss can be `most` or less."""

    @claim(
        paper,
        name=f"own_map_{task}",
        statement=statement.format(task),
        rule="points lost on the same texts; a pair holds if the interval begins at "
        f"{most} or below",
        none="no target here beats the largest class on this task",
        needs=(task,),
    )
    def cases(bench: Bench) -> Iterator[Case]:
        for run in task_runs(bench, task):
            if not run.learned:
                yield Case(f"{run.names}: the target has not learned the task", None)
                continue
            loss = compare_arms(run.folder, "target", "mapped")
            yield Case(
                f"{run.names}: {show(loss)} ({run.texts:,} test texts)",
                at_most(loss.low, exact_fraction(most) / 100),
                {f"{run.key}/loss": float(loss.value)},
            )

    return cases


def difference(
    name: str,
    statement: str,
    paper: str,
    better: str,
    worse: str,
    rule: str = "a case holds if its interval is above 0",
    *,
    tasks: Sequence[str] = FAR,
    holds: Callable[[Interval], bool] = lambda points: float(points.low) > 0,
) -> Claim:
    """A claim on the difference between two arms, on the tasks that are available."""

    @claim(
        paper,
        name=name,
        statement=statement,
        rule=f"{better} less {worse}, points; {rule}",
        none="no target here has learned a task",
        needs=tasks,
    )
    def cases(bench: Bench) -> Iterator[Case]:
        arms = [arm.format(few=bench.few) for arm in (better, worse)]
        for task in (task for task in tasks if task in bench.corpora):
            for run in (run for run in task_runs(bench, task) if run.learned):
                points = compare_arms(run.folder, *arms)
                yield Case(
                    f"{task}, {run.names}: {show(points)} ({run.texts:,} test texts)",
                    holds(points),
                    {f"{task}/{run.key}": float(points.value)},
                )

    return cases


CLAIMS = (
    *(own_map(task, *terms) for task, terms in OWN_MAPS.items()),
    untestable(
        "stsb",
        "On STS-B, a map fitted on IMDB text loses much of the correlation.",
        "Pearson 75.6 in distribution, 61.0 by IMDB",
        missing("STS-B"),
    ),
    difference(
        "public_map",
        "A map of public text alone loses more than a map of the task's own texts.",
        "TREC 55.8-75.4 of 95-97; DBpedia 44.5-79.6 of 99; AG News 64.3-86.7",
        "mapped",
        "public",
    ),
    difference(
        "public_sentiment",
        "On SST-2 a map of public text is nearly as good as a map of the task's texts.",
        "90.7-93.2 of 93-96",
        "mapped",
        "public",
        "a case holds if the interval begins at 3 or below",
        tasks=("sst2",),
        holds=lambda points: at_most(points.low, 0.03),
    ),
    difference(
        "public_and_few",
        "Adding 128 in-distribution texts to public text recovers much of that loss.",
        "TREC 76.8-87.6; DBpedia 86.7-96.6; AG News 83.6-89.2",
        "public_{few}",
        "public",
    ),
    difference(
        "few_shot",
        "Public text with 128 such texts beats a classifier of 128 labelled texts.",
        "TREC 76.8-87.6 against 65-85; DBpedia 86.7-96.6 against 78-93",
        "public_{few}",
        "few_shot_{few}",
    ),
)
