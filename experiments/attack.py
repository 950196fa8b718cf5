r"""What an adversary learns: every attack, on its control and on the guarded protocol.

    python -m experiments.attack --workdir=runs/attack --profile=guarded
    python -m experiments.attack --workdir=runs/attack --source=DIR_OR_ID \
      --target=DIR_OR_ID --data=NAME_FILE_OR_FOLDER

The provider holds the target's classifier and states, the client the source's states;
if no models are given, they are the embedded pebble-llama and pebble-neox on
docstrings, or planted data with --tiny. Each attack runs first on an unprotected
provider, where it must succeed, then on --profile. Correlations are shown with the
central 95% of correlations with shuffled truth, rates with their 95% interval.

Cost: two cores, 20,000 docstrings: about 5 minutes.

Expect raw answers to reveal all weights and rows exactly, and correlations within
chance under "guarded". What still succeeds: extraction of the classifier from d + 1
logits, and membership at small n. A crafted public key would read masks of narrow
layers, but is refused. See docs/attacks.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from experiments.shared.about import about_planted
from experiments.shared.options import PlantedOptions, limit_option, seed_option
from experiments.shared.policies import check_policies
from helix_jax.private.profiles import PROFILES
from helix_jax.reports import Quantity, Table, markdown_table
from helix_jax.runs import Report, Run, Specs, experiment, option, write_atomically
from helix_jax.stats import Interval
from helix_jax.text.hashing import SPLITS

if __name__ != "__main__":  # slow, and flags are read without
    from experiments.shared.attack_queries import queries_of, require_queries
    from experiments.shared.sides import open_corpus
    from experiments.shared.task import open_task
    from helix_jax.attacks import (
        answer_findings,
        classifier_findings,
        crafted_key_findings,
        label_findings,
        membership_findings,
        row_findings,
    )
    from helix_jax.attacks.setting import (
        HEADER,
        Finding,
        Setting,
        measure_attacks,
        planted_setting,
    )
    from helix_jax.transfer.pair_fit import fit_pairs

NOTE = (
    "Unprotected: the control, where each attack must succeed; guarded: the profile of "
    "the run; chance: the central 95% of correlations with shuffled truth, or the "
    "score of a guess without the answers. [ ] after a rate or an AUC: its 95% "
    "interval."
)

SHARE = Quantity("share, %", 100, 1)
CORRELATION = Quantity("correlation", form="+.3f")


@dataclasses.dataclass(frozen=True)
class AttackConfig(PlantedOptions):
    """Flags of the experiment."""

    limit: int = limit_option(20_000)
    max_tokens: int = option(128, "longer texts are truncated, and counted", least=1)
    profile: str = option(
        "guarded", "profile of the protected provider", choices=tuple(PROFILES)
    )
    policies: tuple[str, ...] = option(
        ("logits", "rounded:12", "rounded:8", "rounded:4", "label"),
        "answer policies to extract the classifier from",
    )
    repeats: int = option(64, "answers to one ciphertext to average", least=1)
    rows: int = option(
        0, "rows of the fit attacked by division; 0: as few as allowed", least=0
    )
    columns: int = option(16, "columns of the target in attacks on rows", least=1)
    shadows: int = option(32, "shadow maps of the membership attack", least=2)
    resamples: int = option(
        200, "bootstrap resamples of the membership attack", least=1
    )
    seed: int = seed_option("of splits and shuffles")
    tiny: bool = option(False, "planted data of width 24, done in a minute")


def check(config: AttackConfig, _: Specs) -> None:
    """Refuse unknown policies."""
    check_policies("policies", *config.policies)


@experiment(
    tiny={
        "repeats": 8,
        "rows": 100,
        "columns": 4,
        "shadows": 12,
        "resamples": 50,
        "policies": ("logits", "rounded:8", "label"),
    },
    check=check,
    needs=("Pyfhel",),
)
def compute(config: AttackConfig, _: Run) -> Report:
    """Attack, tabulate; see the module docstring."""
    made_up = config.tiny and not config.source
    setting = planted_setting(config.seed) if made_up else real(config)
    numbers, rows = measure_attacks(setting, attacks(config))
    told = about_planted(
        config if made_up else with_models(config),
        "planted states",
        f"{len(setting.x):,} paired rows",
        f"{len(setting.queries):,} queries",
        f"{len(setting.held):,} other texts to test on",
        f"profile {config.profile}",
    )
    markdown = markdown_table(HEADER, rows) + "\n"
    return Report(
        {f"attack/{name}": value for name, value in numbers.items()},
        [Table("Attacks", HEADER, rows, note=NOTE)],
        told,
        files={"table.md": partial(write_atomically, content=markdown)},
        answer=attack_answer(numbers, config, len(setting.classifier.kernel)),
    )


def attack_answer(
    numbers: Mapping[str, float | Interval], config: AttackConfig, width: int
) -> str:
    """What division reveals with and without the profile, and how good a copy is."""
    exact = SHARE.told(numbers, "division_raw_exact_share")
    guess, low, high = (
        CORRELATION.told(numbers, f"division_guarded_{name}")
        for name in ("correlation", "chance_low", "chance_high")
    )
    said = (
        f"Division reads {exact} of the classifier's weights from an unprotected "
        f"provider; under {config.profile} its guess has a correlation of {guess} with "
        f"them, by chance {low} to {high}"
    )
    if not config.policies:
        return f"{said}."
    policy = config.policies[0]
    name = f"extraction_{policy.replace(':', '_')}_4d_agreement"
    return (
        f"{said}; a copy made from {4 * width:,} answers under {policy} still agrees "
        f"with the classifier on {SHARE.told(numbers, name)} of held-out texts."
    )


def attacks(config: AttackConfig) -> dict[str, Callable[[Setting], Finding]]:
    """Every attack with its settings, in the order of the table."""
    rng = np.random.default_rng(config.seed)
    answers, rows, classifier = answer_findings, row_findings, classifier_findings
    guarded = {"profile": config.profile}
    seeded = guarded | {"rng": rng}
    some = seeded | {"columns": config.columns}
    return {
        "division": partial(answers.measure_division, repeats=config.repeats, **seeded),
        "unused": partial(answers.measure_unused, repeats=config.repeats, **seeded),
        "noise": partial(answers.measure_noise, **seeded),
        "extraction": partial(
            classifier.measure_extraction, policies=config.policies, **guarded
        ),
        "packed_weights": partial(
            classifier.measure_packed_weights,
            policies=[policy for policy in config.policies if policy != "label"],
            **guarded,
        ),
        "labels": partial(label_findings.measure_labels, **seeded),
        "row_division": partial(rows.measure_row_division, rows=config.rows, **some),
        "projection": partial(rows.measure_projection, **some),
        "chosen_rows": partial(rows.measure_chosen_rows, **some),
        "packed_rows": partial(rows.measure_packed_rows, **some),
        "lattice": partial(rows.measure_lattice, **seeded),
        "membership": partial(
            membership_findings.measure_membership,
            shadows=config.shadows,
            resamples=config.resamples,
            rng=rng,
        ),
        "private_membership": partial(
            membership_findings.measure_private_membership,
            epsilon=1.0,
            shadows=config.shadows,
            resamples=config.resamples,
            rng=rng,
        ),
        "crafted_key": partial(crafted_key_findings.measure_crafted_key, **guarded),
    }


def with_models(config: AttackConfig) -> AttackConfig:
    """The flags with the embedded models where none are named."""
    if config.source:
        return config
    return dataclasses.replace(config, source="pebble-llama", target="pebble-neox")


def real(config: AttackConfig) -> Setting:
    """The target's probe, the source's mapped states, and both sides' states."""
    config = with_models(config)
    corpus = open_corpus(config, labelled=True)
    require_queries(config, corpus)
    opened = open_task(config, corpus)
    task, fit = opened.task, fit_pairs(opened.pairs)
    mapped = task.map_states(fit.map, SPLITS[1:])
    mapped = np.random.default_rng(config.seed).permutation(mapped)
    need = queries_of(mapped.shape[1])
    x, y = (np.concatenate([z[s] for s in SPLITS]) for z in (task.x, task.y))
    penalty = float(fit.chosen.fit.penalty)
    return Setting(task.classifier, mapped[:need], mapped[need:], x, y, penalty)


run = compute.run

if __name__ == "__main__":
    compute.main()
