r"""A ledger of the paper's claims: what it says, what is found here, the verdict.

    python -m experiments.replicate --workdir=runs/replicate --preset=local
    python -m experiments.replicate --workdir=runs/paper --preset=paper

`local` takes the embedded models, and the small models and data sets of the folder
--shared where they are at hand; what is missing is said to be "not testable here".
`paper` takes the paper's own models and data from the hub. Every claim states the rule
of its verdict. WORKDIR/ledger.md is written as claims are tested; killed and started
again with the same flags, tested claims are only read. A claim whose test ends in an
error does not keep the others from being tested; the next start tries it again.

Cost: two cores, --preset=local: 26 minutes.

Reference: arXiv 2603.18908.
"""

import dataclasses
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import jax

from experiments.claims import all_claims
from experiments.claims.bench import Bench
from experiments.shared.options import workdir_option
from helix_jax import assets
from helix_jax.errors import HelixError, RunError
from helix_jax.progress import bar
from helix_jax.reports.ledger import Claim, Finding, Ledger
from helix_jax.runs import Run, option, write_atomically
from helix_jax.runs.experiment import Report, Specs, experiment
from helix_jax.textfile import read_json

NOTE = (
    "[ ]: 95% bootstrap intervals over documents; of CKA by leaving documents out, of "
    "the check on random pairs over draws."
)
TOKENIZERS = {
    "qwen2.5": "qwen2.5",
    "mistral": "mistral/tokenizer.model.v1",  # of Mistral-7B-Instruct-v0.2
    "llama2": "llama2",
    "gpt2": "gpt2",
    "gpt-neox-20b_pythia": "gpt-neox-20b_pythia",
}
TASKS = ("sst2", "trec", "ag_news", "dbpedia", "mnli", "mrpc", "rte", "imdb")


@dataclasses.dataclass(frozen=True)
class ReplicateConfig:
    """Flags of the experiment."""

    workdir: str = workdir_option()
    preset: str = option("local", "models and data", choices=("local", "paper"))
    shared: str = option(
        "", "folder of data/, models/, tokenizers/; empty: found", names="path"
    )
    claims: tuple[str, ...] = option((), "names of the claims to test; empty: all")
    limit: int = option(6000, "texts of a corpus to use, chosen by hash", least=1)
    max_tokens: int = option(96, "tokens of a text", least=1)
    tiny: bool = option(False, "700 texts, 48 tokens, one pair")


def check(config: ReplicateConfig, _: Specs) -> None:
    """Refuse claims and folders that there are not."""
    choose_claims(config.claims)
    if config.shared and not Path(config.shared).is_dir():
        raise RunError(f"--shared={config.shared} is no folder.")


@experiment(tiny={"limit": 700, "max_tokens": 48}, check=check)
def compute(config: ReplicateConfig, run: Run) -> Report:
    """Test every claim; see the module docstring."""
    chosen = choose_claims(config.claims)
    place = run.folder / "ledger.md"
    bench = PRESETS[config.preset](config)
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
            jax.clear_caches()  # thousands of programs exhaust a process's maps
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
    return Report(numbers, ledger.blocks, text=ledger.text)


def choose_claims(names: tuple[str, ...]) -> list[Claim]:
    """The claims of these names; all for none.

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


def local_bench(config: ReplicateConfig) -> Bench:
    """Embedded models, and what the folder of real data and models holds."""
    shared = Path(config.shared or os.environ.get("HELIX_SHARED", "../shared"))
    own = {name: str(assets.model_path(name)) for name in assets.NAMES}
    pairs = [(own["pebble-neox"], own["pebble-llama"])]
    generators = [(own["pebble-llama"], own["pebble-qwen3"]), *pairs]
    corpora = at_hand(shared / "data", dict(zip(TASKS, TASKS)))
    if not config.tiny:
        pairs += _others(shared) + _encoder(config.workdir, own["pebble-llama"])
        generators += _others(shared)
    return Bench(
        Path(config.workdir),
        tuple(pairs),
        tuple(generators),
        corpora,
        "docstrings",
        at_hand(shared / "tokenizers", TOKENIZERS),
        _options(config),
        32 if config.tiny else 128,
        config.tiny,
    )


def at_hand(folder: Path, places: Mapping[str, str]) -> dict[str, str]:
    """Name -> path of those files and folders that a folder has."""
    return {
        name: str(folder / place)
        for name, place in places.items()
        if (folder / place).exists()
    }


def _others(shared: Path) -> list[tuple[str, str]]:
    pair = [shared / "models" / one for one in ("babyllama-tok361", "stories260K")]
    return [tuple(map(str, pair))] if all(one.is_dir() for one in pair) else []


def _encoder(workdir: str, target: str) -> list[tuple[str, str]]:
    """A sentence encoder as the source, where its package is installed."""
    folder = assets.installed_encoder()
    if not folder:
        return []
    named = Path(workdir, "models", "all-MiniLM-L6-v2")  # its folder is called "model"
    named.mkdir(parents=True, exist_ok=True)
    for file in Path(folder).iterdir():
        if not (named / file.name).is_symlink():
            (named / file.name).symlink_to(file)
    return [(str(named), target)]


def paper_bench(config: ReplicateConfig) -> Bench:
    """Models and data of the paper, from the hub."""
    qwen, llama = "Qwen/Qwen2.5-7B-Instruct", "meta-llama/Meta-Llama-3-8B-Instruct"
    small = "meta-llama/Llama-3.2-1B-Instruct"
    return Bench(
        Path(config.workdir),
        ((qwen, llama), (llama, qwen), ("Qwen/Qwen3-Embedding-8B", llama)),
        ((llama, qwen), (qwen, llama), (small, llama)),
        {task: task for task in (*TASKS, "yahoo")},
        "wikipedia",
        {
            "qwen2.5": qwen,
            "llama3": llama,
            "mistral": "mistralai/Mistral-7B-Instruct-v0.2",
            "nemo": "mistralai/Mistral-Nemo-Instruct-2407",
            "apertus": "swiss-ai/Apertus-8B-Instruct-2509",
            "gemma3": "google/gemma-3-270m-it",
        },
        {**_options(config), "dtype": "bfloat16"},
        tiny=config.tiny,
    )


def _options(config: ReplicateConfig) -> dict[str, object]:
    return {
        "limit": config.limit,
        "public_limit": 2 * config.limit,
        "max_tokens": config.max_tokens,
        "pooling": "mean",  # as in the paper, of sentence encoders too
        "stores": str(Path(config.workdir) / "stores"),
    }


PRESETS = {"local": local_bench, "paper": paper_bench}

run = compute.run

if __name__ == "__main__":
    compute.main()
