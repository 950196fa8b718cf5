"""Claims on out-of-distribution detection through a map."""

from collections.abc import Iterator, Mapping

from experiments import ood
from experiments.claims.ledger import (
    Bench,
    Case,
    Claim,
    Finding,
    interval_of,
    missing,
    show,
    tally,
    verdict_of,
)
from experiments.pairs import short_name
from experiments.shared.names import DETECTOR_NAMES

# Known task and strange texts -> the paper's AUROC of energy, baseline and mapped.
CASES = {
    ("sst2", "ag_news"): ".82-.88 to .77-.85",
    ("trec", "ag_news"): ".41-.95 to .43-.79",
    ("ag_news", "mnli"): ".88-.96 to .72-.84",
    ("mnli", "imdb"): "",
}
NO_DATA = "pair of known and strange data"


def claims() -> list[Claim]:
    """Every claim of this file."""
    ranges = "; ".join(
        f"{known} against {strange} {said}"
        for (known, strange), said in CASES.items()
        if said
    )
    return [
        Claim(
            "ood_mapped",
            "Energy detects strange texts on states mapped by public text too, less "
            "well than on native ones.",
            ranges,
            check_mapped,
        ),
        Claim(
            "ood_weak",
            "Energy alone is a weak detector: some baselines are below chance.",
            "TREC from .41",
            check_weak,
        ),
        Claim(
            "ood_others",
            "Stronger detectors are wanted beside it (our question).",
            "none",
            check_others,
        ),
        Claim(
            "ood_yahoo",
            "DBpedia against Yahoo, Yahoo against SST-2, IMDB against Amazon.",
            "DBpedia .96-.98 to .54-.72",
            lambda bench: missing("Yahoo and Amazon data"),
        ),
    ]


def check_mapped(bench: Bench) -> Finding:
    """A case holds if mapped is above chance and not above native."""

    def case(name: str, summary: Mapping[str, float]) -> Case:
        native = interval_of(summary, "ood/energy_native_auroc")
        mapped = interval_of(summary, "ood/energy_public_auroc")
        return Case(
            f"{name}: {show(native)} to {show(mapped)} ({_texts(summary)})",
            0.5 < float(mapped.low) <= float(native.high),
            {
                f"{name}/native": float(native.value),
                f"{name}/mapped": float(mapped.value),
            },
        )

    return tally(
        (case(*one) for one in _runs(bench)),
        "AUROC in percent, native to mapped by public text; a case holds if the mapped "
        "interval is above 50 and begins below the native one's end",
        none=missing(NO_DATA),
    )


def check_weak(bench: Bench) -> Finding:
    """Holds if a native baseline's interval is below chance."""
    found = {
        name: interval_of(summary, "ood/energy_native_auroc")
        for name, summary in _runs(bench)
    }
    if not found:
        return missing(NO_DATA)
    weakest = min(found, key=lambda name: float(found[name].value))
    return Finding(
        f"weakest: {weakest} {show(found[weakest])}",
        verdict_of([float(found[weakest].high) < 0.5]),
        "AUROC in percent; holds if an interval of a native baseline is below 50",
        {"weakest": float(found[weakest].value)},
    )


def check_others(bench: Bench) -> Finding:
    """A case holds if another detector, mapped, is above energy and its control."""
    runs = dict(_runs(bench))

    def case(name: str, summary: Mapping[str, float]) -> Case:
        others = [one for known, one in runs.items() if known != name] or [summary]
        best = max(
            ood.DETECTORS,
            key=lambda one: sum(other[f"ood/{one}_mapped_auroc"] for other in others),
        )
        found, energy = (
            interval_of(summary, f"ood/{one}_mapped_auroc") for one in (best, "energy")
        )
        control = interval_of(summary, f"ood/{best}_shuffled_auroc")
        said = DETECTOR_NAMES[best]
        return Case(
            f"{name} ({_texts(summary)}): {said} {show(found)}, energy {show(energy)}, "
            f"{said} by a map of shuffled pairs {show(control)}",
            float(found.low) > max(float(energy.high), float(control.high)),
            {f"{name}/best": float(found.value)},
        )

    return tally(
        (case(*one) for one in runs.items()),
        "AUROC in percent on mapped states of the detector that is best of ten on the "
        "other cases; a case holds if its interval is above energy's and above that of "
        "its control, which is not at 50: a wrong map keeps texts apart as well",
        none=missing(NO_DATA),
    )


def _texts(summary: Mapping[str, float]) -> str:
    known, strange = (summary[f"ood/{one}_texts"] for one in ("known", "strange"))
    return f"{known:,} known, {strange:,} strange texts"


def _runs(bench: Bench) -> Iterator[tuple[str, Mapping[str, float]]]:
    """(name, summary) of every case whose data are at hand; each runs once."""
    for source, target in bench.pairs[: 1 if bench.tiny else 2]:
        names = f"{short_name(source)} to {short_name(target)}"
        for known, strange in CASES:
            if not {known, strange} <= bench.corpora.keys():
                continue
            config = bench.config(
                ood.OodConfig,
                "ood",
                f"{known}-{strange}",
                names.replace(" ", "-"),
                source=source,
                target=target,
                data=bench.corpora[known],
                ood_data=bench.corpora[strange],
                ood_limit=bench.options["limit"],
                public=bench.public,
            )
            yield f"{known} against {strange}, {names}", ood.run(config)
