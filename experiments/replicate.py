r"""A ledger of the paper's claims: published value, value found here, verdict.

    python -m experiments.replicate --workdir=runs/replicate --preset=local
    python -m experiments.replicate --workdir=runs/paper --preset=paper

`local` uses four pretrained models (SmolLM2-135M, Gemma 3 270M, all-mpnet-base-v2,
all-MiniLM-L6-v2) and the data sets found in the folder --shared; `pebble` uses the
embedded models and small ones; `paper` uses the paper's own models and data, from the
hub. Claims whose models or data are missing are reported as "not testable here". Every
claim states the rule of its verdict. WORKDIR/ledger.md is written as claims are tested;
a run that is started again with the same flags only reads claims tested before. If the
test of a claim ends in an error, the others are still tested, and the next start tries
it again.

Cost: two cores, --preset=local: about three hours; --preset=pebble: 26 minutes.

Reference: arXiv 2603.18908.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

from experiments.shared.bench_options import PRESETS, BenchOptions
from helix_jax.errors import HelixError, RunError
from helix_jax.progress import bar
from helix_jax.reports.ledger import Claim, Finding, Ledger
from helix_jax.runs import Report, Run, Specs, experiment, option, write_atomically
from helix_jax.textfile import read_json

if __name__ != "__main__":  # slow, and flags are read without
    import jax

    from experiments.claims import all_claims
    from experiments.claims.bench import Bench
    from experiments.claims.benches import BENCHES

NOTE = (
    "[ ]: 95% bootstrap intervals over documents; of CKA by leaving documents out, of "
    "the check on random pairs over draws."
)


@dataclasses.dataclass(frozen=True)
class ReplicateConfig(BenchOptions):
    """Flags of the experiment."""

    preset: str = option("local", "models and data", choices=PRESETS)
    claims: tuple[str, ...] = option((), "names of the claims to test; empty: all")


def check(config: ReplicateConfig, _: Specs) -> None:
    """Refuse unknown claims and a missing folder."""
    choose_claims(config.claims)
    if config.shared and not Path(config.shared).is_dir():
        raise RunError(f"--shared={config.shared} is not a folder.")


@experiment(tiny={"limit": 700, "max_tokens": 48}, check=check)
def compute(config: ReplicateConfig, run: Run) -> Report:
    """Test every claim; see the module docstring."""
    chosen = choose_claims(config.claims)
    place = run.folder / "ledger.md"
    bench = BENCHES[config.preset](config)
    findings: dict[str, Finding] = {}
    ledger = Ledger("Ledger of the paper's claims", NOTE, chosen, findings)
    numbers: dict[str, float] = {}
    failed: dict[str, HelixError] = {}
    for claim in bar(chosen, "claims"):
        try:
            finding, seconds = test_claim(claim, bench)
        except HelixError as error:
            failed[claim.name] = error
            continue
        finally:
            jax.clear_caches()  # thousands of programs exhaust a process's memory maps
        findings[claim.name] = finding
        numbers |= {f"{claim.name}/{k}": v for k, v in finding.numbers.items()}
        numbers[f"{claim.name}/seconds"] = seconds
        write_atomically(place, ledger.text)
    if failed:
        name, error = next(iter(failed.items()))
        raise RunError(
            f"{len(failed)} of {len(chosen)} claims could not be tested, first {name}: "
            f"{error}\nThe others are in {place}; start again with the same flags to "
            "try these again."
        ) from error
    counts = ", ".join(f"{verdict} {count}" for verdict, count in ledger.counts)
    answer = f"Verdicts on {len(findings)} claims of the paper: {counts}."
    return Report(numbers, ledger.blocks, text=ledger.text, answer=answer)


def choose_claims(names: tuple[str, ...]) -> list[Claim]:
    """The claims with these names; all of them for no names.

    Raises:
      RunError: an unknown name.
    """
    claims = {claim.name: claim for claim in all_claims()}
    unknown = sorted(set(names) - set(claims))
    if unknown:
        raise RunError(
            f"--claims: no claim {unknown[0]!r}; there are {', '.join(claims)}."
        )
    return [claims[name] for name in names] if names else list(claims.values())


def test_claim(claim: Claim, bench: Bench) -> tuple[Finding, float]:
    """The finding of a claim and its seconds, from disk where it was tested before."""
    path = bench.folder / "findings" / f"{claim.name}.json"
    if path.is_file():
        record = read_json(path, raises=RunError)
        return Finding(**record["finding"]), record["seconds"]
    began = time.perf_counter()
    finding = claim.check(bench)
    seconds = time.perf_counter() - began
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"finding": finding._asdict(), "seconds": seconds}
    write_atomically(path, json.dumps(record, indent=1) + "\n")
    return finding, seconds


run = compute.run

if __name__ == "__main__":
    compute.main()
