r"""Does the select split tell which pairs of models can share their caches?

    python -m experiments.cache_gate --workdir=runs/gate --runs=runs/caches

Reads finished runs of `experiments.caches`, one for each ordered pair of models, and
correlates measures of each run's select split with the retention on its test split:
R2 of keys and values, attention cosines, agreement and retention of a few prompts. The
interval resamples models, since pairs share them; the difference from R2 uses the same
resamples.

Cost: seconds, for finished runs.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from experiments.shared.about import about, short_model
from experiments.shared.options import resamples_option, workdir_option
from helix_jax.errors import RunError
from helix_jax.reports import Curves, Quantity, Table, quantity_table
from helix_jax.reports.tables import format_interval
from helix_jax.reports.workdirs import find_ended
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.textfile import read_json

if __name__ != "__main__":  # slow, and flags are read without
    from helix_jax.caches.gate import gate_correlations

TITLES = {
    "select_r2": "R2 of keys and values",
    "select_r2_keys": "R2 of keys",
    "select_r2_values": "R2 of values",
    "select_cosine": "attention cosine",
    "select_cosine_least": "attention cosine of the worst layer",
    "select_agreement": "top-1 agreement of a few prompts",
    "select_retention": "retention of a few prompts",
}
EXPERIMENT = "CachesConfig"


@dataclasses.dataclass(frozen=True)
class CacheGateConfig:
    """Flags of the experiment."""

    workdir: str = workdir_option()
    runs: tuple[str, ...] = option(
        (), "work directories of experiments.caches, or folders of them", names="folder"
    )
    arm: str = option("", "arm to score, such as mapped_1; empty: the kept one")
    resamples: int = resamples_option()
    tiny: bool = option(False, "few resamples")


class PairRun(NamedTuple):
    """A run of one ordered pair."""

    pair: tuple[str, str]
    summary: dict[str, Any]
    arm: str

    def number(self, name: str) -> float:
        """A number of the judged arm."""
        return float(self.summary[f"{name}_{self.arm}"])


@experiment(tiny={"resamples": 50})
def compute(config: CacheGateConfig, run: Run) -> Report:
    """Read the runs and correlate; see the module docstring."""
    runs = [read_run(folder, config.arm) for folder in open_runs(config)]
    pairs = [one.pair for one in runs]
    if len({name for pair in pairs for name in pair}) < 3 or len(pairs) < 3:
        raise RunError(
            f"--runs={','.join(config.runs)} holds pairs {pairs}; a correlation over "
            "pairs needs three or more, of three models."
        )
    signals = {name: [one.number(f"gate/{name}") for one in runs] for name in TITLES}
    retention = [one.number("caches/retention") for one in runs]
    found = gate_correlations(signals, retention, pairs, resamples=config.resamples)
    numbers = {f"gate/rank_correlation_{name}": value for name, value in found.items()}
    numbers["gate/pairs"] = len(pairs)
    note = (
        "[ ]: 95% bootstrap interval over models. The last column is the correlation "
        "minus that of R2, over the same resamples."
    )
    rows = [
        [
            title,
            format_interval(found, name, scale=1, digits=2),
            format_interval(found, f"{name}_over_select_r2", scale=1, digits=2),
        ]
        for name, title in TITLES.items()
    ]
    header = ["measure of the select split", "Spearman with retention", "more than R2"]
    blocks = [
        Table("What predicts the retention of a pair", header, rows, note),
        pairs_table(runs),
        scatter(signals, retention),
    ]
    models = dict.fromkeys(name for pair in pairs for name in pair)
    told = about(
        f"{len(pairs)} pairs of {len(models)} models",
        "",
        f"{sum(int(one.summary['caches/prompts']) for one in runs):,} prompts to test "
        "on",
    )
    best = max(TITLES, key=lambda name: abs(found[name].value))
    correlation = format_interval(found, best, scale=1, digits=2)
    answer = (
        f"Of {len(TITLES)} measures of the select split, {TITLES[best]} predicts the "
        f"retention of a pair best: Spearman correlation {correlation}."
    )
    return Report(numbers, blocks, told, answer=answer)


def open_runs(config: CacheGateConfig) -> list[Path]:
    """The work directories of --runs."""
    if not config.runs:
        raise RunError("missing: --runs (work directories of experiments.caches).")
    return [
        folder
        for name in config.runs
        for folder in find_ended(Path(name), flag="runs")
        if _config_of(folder).get("experiment") == EXPERIMENT
    ]


def read_run(folder: Path, arm: str) -> PairRun:
    """The pair, the numbers and the judged arm of a run.

    Raises:
      RunError: the arm was not measured there.
    """
    config = _config_of(folder)
    summary = read_json(folder / "summary.json", raises=RunError)
    keep = int(config.get("keep", 0))
    judged = arm or (f"mapped_{keep}" if keep else "mapped_all")
    if f"gate/select_r2_{judged}" not in summary:
        raise RunError(f"--arm={judged} was not measured in {folder}.")
    pair = short_model(config["source"]), short_model(config["target"])
    if pair[0] == pair[1]:  # siblings are told apart by their folders' parents
        pair = tuple(
            str(Path(config[side]).parent.name) for side in ("source", "target")
        )
    return PairRun(pair, summary, judged)


def pairs_table(runs: list[PairRun]) -> Table:
    """Retention and the measures of every pair."""
    numbers = {}
    shown = {"retention": Quantity("retention, test split, %", 100, 1)}
    shown |= {name: Quantity(title, 1, 3) for name, title in TITLES.items()}
    arms = {}
    for number, one in enumerate(runs):
        arms[f"{number}"] = " -> ".join(one.pair)
        for end in ("", "_low", "_high"):
            name = f"caches/retention_{one.arm}{end}"
            numbers[f"retention {number}{end}"] = one.summary[name]
        for name in TITLES:
            numbers[f"{name} {number}"] = one.number(f"gate/{name}")
    note = "[ ]: 95% bootstrap interval over documents."
    return quantity_table("Pairs", numbers, shown, "{} {}".format, arms, note=note)


def scatter(signals: dict[str, list[float]], retention: list[float]) -> Curves:
    """Retention against two measures, sorted by each."""
    series = {
        TITLES[name]: sorted(zip(signals[name], retention))
        for name in ("select_r2", "select_cosine")
    }
    return Curves(
        "Retention of each pair against a measure of the select split",
        "measure of the select split",
        "retention",
        {name: [list(point) for point in points] for name, points in series.items()},
    )


def _config_of(folder: Path) -> dict[str, Any]:
    return read_json(folder / "config.json", raises=RunError)


run = compute.run

if __name__ == "__main__":
    compute.main()
