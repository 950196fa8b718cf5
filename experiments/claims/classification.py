"""Claims on the target's classifier read on mapped states."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from experiments import classify
from experiments.claims.ledger import (
    Bench,
    Case,
    Claim,
    Finding,
    missing,
    show,
    tally,
    untestable,
)
from experiments.pairs import short_name
from experiments.shared.task import compare_arms
from helix_jax.stats import at_most, exact_fraction

# Task -> the paper's range of points lost by a map of the task's own texts.
LOSSES = {
    "sst2": (0.7, 2.7),
    "trec": (0.4, 5.8),
    "ag_news": (0.1, 1.0),
    "dbpedia": (0.1, 0.3),
    "mnli": (0.8, 26.6),
}
# Tasks of the paper's table of public maps that are far from public text.
FAR = ("trec", "dbpedia", "ag_news")


def claims() -> list[Claim]:
    """Every claim of this file."""
    own = [
        Claim(
            f"own_map_{task}",
            f"A map fitted on the texts of {task} costs the target's classifier few "
            "points of accuracy.",
            f"{low} to {high} points",
            partial(check_own_map, task=task, most=high),
        )
        for task, (low, high) in LOSSES.items()
    ]
    glue = [
        Claim(
            f"own_map_{task}",
            f"On {task}, a pair task, the map's loss is small too.",
            said,
            partial(check_own_map, task=task, most=most),
        )
        for task, said, most in (
            ("mrpc", "F1 80.2 in distribution, 77.8 by IMDB", 5.0),
            ("rte", "accuracy 61.0 in distribution, 59.6 by IMDB", 5.0),
        )
    ]
    return [
        *own,
        *glue,
        Claim(
            "stsb",
            "On STS-B a map of IMDB text loses much of the correlation.",
            "Pearson 75.6 in distribution, 61.0 by IMDB",
            lambda bench: missing("STS-B"),
        ),
        Claim(
            "public_map",
            "A map of public text alone carries less than one of the task's texts.",
            "TREC 55.8-75.4 of 95-97; DBpedia 44.5-79.6 of 99; AG News 64.3-86.7",
            partial(check_arms, better="mapped", worse="public"),
        ),
        Claim(
            "public_sentiment",
            "On SST-2 a map of public text is nearly as good as one of the task's own.",
            "90.7-93.2 of 93-96",
            check_sentiment,
        ),
        Claim(
            "public_and_few",
            "128 texts of the task beside public text mend much of it.",
            "TREC 76.8-87.6; DBpedia 86.7-96.6; AG News 83.6-89.2",
            partial(check_arms, better="public_{few}", worse="public"),
        ),
        Claim(
            "few_shot",
            "Public text and 128 texts beat a classifier of 128 labelled texts.",
            "TREC 76.8-87.6 against 65-85; DBpedia 86.7-96.6 against 78-93",
            partial(check_arms, better="public_{few}", worse="few_shot_{few}"),
        ),
    ]


def check_own_map(bench: Bench, *, task: str, most: float) -> Finding:
    """A case holds if the interval of its loss begins at or below the paper's most."""
    if task not in bench.corpora:
        return missing(task)

    def case(source: str, target: str, folder: Path, n: int, learned: bool) -> Case:
        names = f"{source} to {target}"
        if not learned:
            return Case(f"{names}: the target has not learned the task", None)
        loss = compare_arms(folder, "target", "mapped")
        return Case(
            f"{names}: {show(loss)} ({n:,} test texts)",
            at_most(loss.low, exact_fraction(most) / 100),
            {f"{source}/{target}/loss": float(loss.value)},
        )

    return tally(
        (case(*one) for one in _runs(bench, task)),
        f"points lost on the same texts; a pair holds if the interval begins at {most} "
        "or below",
        none=untestable("no target here beats the largest class on this task"),
    )


def check_arms(bench: Bench, *, better: str, worse: str) -> Finding:
    """A case holds if the interval of the difference is above zero."""
    better, worse = (name.format(few=bench.few) for name in (better, worse))

    def rule(difference) -> bool:
        return float(difference.low) > 0

    why = f"{better} less {worse}, points; a case holds if its interval is above 0"
    return _differences(bench, FAR, better, worse, rule, why)


def check_sentiment(bench: Bench) -> Finding:
    """A case holds if the interval of what is lost begins at or below 3 points."""

    def rule(difference) -> bool:
        return at_most(difference.low, 0.03)

    why = (
        "mapped less public, points; a case holds if the interval begins at 3 or below"
    )
    return _differences(bench, ("sst2",), "mapped", "public", rule, why)


def _differences(
    bench: Bench,
    tasks: tuple[str, ...],
    better: str,
    worse: str,
    rule: Callable,
    why: str,
) -> Finding:
    found = [task for task in tasks if task in bench.corpora]
    if not found:
        return missing(" or ".join(tasks))

    def case(task: str, source: str, target: str, folder: Path, n: int) -> Case:
        difference = compare_arms(folder, better, worse)
        return Case(
            f"{task}, {source} to {target}: {show(difference)} ({n:,} test texts)",
            rule(difference),
            {f"{task}/{source}/{target}": float(difference.value)},
        )

    runs = ((task, *one) for task in found for one in _runs(bench, task))
    return tally(
        (case(*one) for *one, learned in runs if learned),
        why,
        none=untestable("no target here has learned a task"),
    )


def _runs(bench: Bench, task: str) -> Iterator[tuple[str, str, Path, int, bool]]:
    """(source, target, folder, test texts, learned) of every pair; each runs once.

    A target has learned a task if its accuracy's interval is above the largest class.
    """
    for source, target in bench.pairs:
        names = short_name(source), short_name(target)
        config = bench.config(
            classify.ClassifyConfig,
            "classify",
            task,
            "-to-".join(names),
            source=source,
            target=target,
            data=bench.corpora[task],
            public=bench.public,
            few_shot=(bench.few,),
        )
        summary = classify.run(config)
        learned = (
            summary["test/target_accuracy_low"] > summary["test/majority_accuracy"]
        )
        yield *names, Path(config.workdir), summary["data/test_texts"], learned
