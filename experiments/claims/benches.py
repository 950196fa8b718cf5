"""The benches: the models and data that claims are tested with, one for each preset.

local   pretrained models of general English (HELIX_REAL, otherwise by hub id) and the
        paper's small data sets; the default
pebble  the embedded models and the small ones of HELIX_SHARED; takes minutes
paper   the paper's own models and data, from the hub
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import jax

from experiments.claims.bench import Bench
from experiments.claims.compatibility import TRAINED
from experiments.shared.bench_options import BenchOptions
from experiments.shared.places import (
    REAL_DECODERS,
    REAL_MODELS,
    real_models,
    shared_folder,
    small_models,
)
from helix_jax import assets

TOKENIZERS = {
    "qwen2.5": "qwen2.5",
    "mistral": "mistral/tokenizer.model.v1",  # of Mistral-7B-Instruct-v0.2
    "llama2": "llama2",
    "gpt2": "gpt2",
    "gpt-neox-20b_pythia": "gpt-neox-20b_pythia",
}
TASKS = ("sst2", "trec", "ag_news", "dbpedia", "mnli", "mrpc", "rte", "imdb")
PUBLIC = "corpora/imdb_unlabelled.jsonl"  # the paper's public text comes from IMDB


def local_bench(flags: BenchOptions) -> Bench:
    """Four pretrained models of four groups, in six pairs, and the data sets found."""
    if flags.tiny:
        return pebble_bench(flags)
    shared = shared_folder(flags.shared)
    here = real_models()
    smollm2, gemma, mpnet, minilm = (
        here.get(name, REAL_MODELS[name]) for name in REAL_MODELS
    )
    public = shared / PUBLIC
    small = [str(path) for path in small_models(flags.shared)]
    own = [str(assets.model_path(name)) for name in assets.NAMES]
    return Bench(
        Path(flags.workdir),
        (
            (smollm2, gemma),
            (gemma, smollm2),
            (mpnet, minilm),
            (minilm, mpnet),
            (mpnet, gemma),
            (smollm2, mpnet),
        ),
        ((smollm2, gemma), (gemma, smollm2)),
        at_hand(shared / "data", dict(zip(TASKS, TASKS))),
        str(public) if public.exists() else "docstrings",
        at_hand(shared / "tokenizers", TOKENIZERS)
        | dict(zip(REAL_DECODERS, (smollm2, gemma))),
        flags.shares(3000),
        causal=(smollm2, gemma, *own, *small),
        trained=tuple(TRAINED),
        plateau_texts=6000,
        token_pairs=40_000,
    )


def pebble_bench(flags: BenchOptions) -> Bench:
    """The embedded models, and the small models and data sets of the shared folder."""
    shared = shared_folder(flags.shared)
    own = {name: str(assets.model_path(name)) for name in assets.NAMES}
    pairs = [(own["pebble-neox"], own["pebble-llama"])]
    generators = [(own["pebble-llama"], own["pebble-qwen3"]), *pairs]
    if not flags.tiny:
        pairs += _others(shared) + _encoder(flags.workdir, own["pebble-llama"])
        generators += _others(shared)
    return Bench(
        Path(flags.workdir),
        tuple(pairs),
        tuple(generators),
        at_hand(shared / "data", dict(zip(TASKS, TASKS))),
        "docstrings",
        at_hand(shared / "tokenizers", TOKENIZERS),
        flags.shares(6000),
        few=32 if flags.tiny else 128,
        tiny=flags.tiny,
    )


def paper_bench(flags: BenchOptions) -> Bench:
    """The paper's models and data, from the hub."""
    qwen, llama = "Qwen/Qwen2.5-7B-Instruct", "meta-llama/Meta-Llama-3-8B-Instruct"
    small, gemma = "meta-llama/Llama-3.2-1B-Instruct", "google/gemma-3-270m-it"
    mistral = "mistralai/Mistral-7B-Instruct-v0.2"
    nemo = "mistralai/Mistral-Nemo-Instruct-2407"
    apertus = "swiss-ai/Apertus-8B-Instruct-2509"
    dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return Bench(
        Path(flags.workdir),
        ((qwen, llama), (llama, qwen), ("Qwen/Qwen3-Embedding-8B", llama)),
        ((llama, qwen), (qwen, llama), (small, llama)),
        {task: task for task in (*TASKS, "yahoo")},
        "wikipedia",
        {
            "qwen2.5": qwen,
            "llama3": llama,
            "mistral": mistral,
            "nemo": nemo,
            "apertus": apertus,
            "gemma3": gemma,
        },
        {**flags.shares(6000), "dtype": dtype},
        tiny=flags.tiny,
        causal=(
            "allenai/Olmo-3-7B-Instruct",
            gemma,
            "google/gemma-3-12b-it",
            small,
            llama,
            "mistralai/Ministral-3-14B-Instruct-2512",
            mistral,
            nemo,
            "Qwen/Qwen2.5-0.5B-Instruct",
            qwen,
            "Qwen/Qwen2.5-14B-Instruct",
            "Qwen/Qwen3-30B-A3B",
            "Qwen/Qwen3-4B",
            apertus,
        ),
    )


def at_hand(folder: Path, places: Mapping[str, str]) -> dict[str, str]:
    """Name -> path of those files and folders that exist in a folder."""
    return {
        name: str(folder / place)
        for name, place in places.items()
        if (folder / place).exists()
    }


def _others(shared: Path) -> list[tuple[str, str]]:
    pair = [shared / "models" / one for one in ("babyllama-tok361", "stories260K")]
    return [tuple(map(str, pair))] if all(one.is_dir() for one in pair) else []


def _encoder(workdir: str, target: str) -> list[tuple[str, str]]:
    """A sentence encoder as the source, if its package is installed."""
    folder = assets.installed_encoder()
    if not folder:
        return []
    named = Path(workdir, "models", "all-MiniLM-L6-v2")  # its folder is called "model"
    named.mkdir(parents=True, exist_ok=True)
    for file in Path(folder).iterdir():
        if not (named / file.name).is_symlink():
            (named / file.name).symlink_to(file)
    return [(str(named), target)]


BENCHES: dict[str, Callable[[BenchOptions], Bench]] = {
    "local": local_bench,
    "pebble": pebble_bench,
    "paper": paper_bench,
}
