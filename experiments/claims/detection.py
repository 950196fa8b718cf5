"""Claims on out-of-distribution detection through a map."""

from collections.abc import Iterator, Mapping

from experiments import ood
from experiments.claims.bench import (
    Bench,
    claim,
    missing,
    names_of,
    read,
    show,
    untestable,
)
from experiments.shared.names import DETECTOR_NAMES
from helix_jax.ood import DETECTORS
from helix_jax.reports.ledger import Case
from helix_jax.stats import Interval

# In- and out-of-distribution corpus -> the paper's AUROC of energy, native and mapped.
CASES = {
    ("sst2", "ag_news"): ".82-.88 to .77-.85",
    ("trec", "ag_news"): ".41-.95 to .43-.79",
    ("ag_news", "mnli"): ".88-.96 to .72-.84",
    ("mnli", "imdb"): "",
}
NO_DATA = missing("pair of in-distribution and out-of-distribution data")


def _runs(bench: Bench) -> Iterator[tuple[str, Mapping[str, float]]]:
    """(name, summary) of every case whose data are available; each is run once."""
    for pair in bench.pairs[: 1 if bench.tiny else 2]:
        for known, other in CASES:
            if {known, other} <= bench.corpora.keys():
                summary = bench.run_pair(
                    ood.compute,
                    pair,
                    "ood",
                    f"{known}-{other}",
                    data=bench.corpora[known],
                    ood_data=bench.corpora[other],
                    ood_limit=bench.options["limit"],
                    public=bench.public,
                )
                yield f"{known} against {other}, {names_of(pair)}", summary


def _auroc(summary: Mapping[str, float], detector: str, states: str) -> Interval:
    return read(summary, f"ood/{detector}_{states}_auroc")


def _texts(summary: Mapping[str, float]) -> str:
    known, other = (summary[f"ood/{part}_texts"] for part in ("known", "strange"))
    return f"{known:,} in-distribution, {other:,} out-of-distribution texts"


@claim(
    "; ".join(
        f"{known} against {other} {auroc}"
        for (known, other), auroc in CASES.items()
        if auroc
    ),
    none=NO_DATA,
)
def ood_mapped(bench: Bench) -> Iterator[Case]:
    """Energy detects out-of-distribution texts on states mapped by a map of public
    text, but less well than on native states.

    AUROC in percent, on native and on mapped states; a case holds if the mapped
    interval is above 50 and does not begin above the end of the native one
    """
    for name, summary in _runs(bench):
        native, mapped = (_auroc(summary, "energy", s) for s in ("native", "public"))
        yield Case(
            f"{name}: {show(native)} to {show(mapped)} ({_texts(summary)})",
            0.5 < mapped.low <= native.high,
            {f"{name}/native": native.value, f"{name}/mapped": mapped.value},
        )


@claim("TREC from .41", none=NO_DATA)
def ood_weak(bench: Bench) -> Iterator[Case]:
    """Energy alone is a weak detector: on native states it can be below chance.

    AUROC in percent; holds if the lowest native AUROC has an interval below 50
    """
    baselines = {
        name: _auroc(summary, "energy", "native") for name, summary in _runs(bench)
    }
    if baselines:
        name, weakest = min(baselines.items(), key=lambda item: item[1].value)
        yield Case(
            f"weakest: {name} {show(weakest)}",
            weakest.high < 0.5,
            {"weakest": weakest.value},
        )


@claim("none", none=NO_DATA)
def ood_others(bench: Bench) -> Iterator[Case]:
    """Other detectors are stronger than energy (our question).

    AUROC in percent on mapped states, of the detector that is the best of ten on the
    other cases; a case holds if its interval is above that of energy and above that of
    its control, which need not be 50: even a wrong map can keep texts apart
    """
    runs = dict(_runs(bench))
    for name, summary in runs.items():
        others = [runs[other] for other in runs if other != name] or [summary]
        best = max(
            DETECTORS,
            key=lambda one: sum(_auroc(other, one, "mapped").value for other in others),
        )
        chosen, energy = (_auroc(summary, one, "mapped") for one in (best, "energy"))
        control = _auroc(summary, best, "shuffled")
        title = DETECTOR_NAMES[best]
        yield Case(
            f"{name} ({_texts(summary)}): {title} {show(chosen)}, energy "
            f"{show(energy)}, {title} by a map of shuffled pairs {show(control)}",
            chosen.low > max(energy.high, control.high),
            {f"{name}/best": chosen.value},
        )


CLAIMS = (
    ood_mapped,
    ood_weak,
    ood_others,
    untestable(
        "ood_yahoo",
        "DBpedia against Yahoo, Yahoo against SST-2, IMDB against Amazon.",
        "DBpedia .96-.98 to .54-.72",
        missing("Yahoo and Amazon data"),
    ),
)
