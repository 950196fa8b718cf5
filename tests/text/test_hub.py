"""Data sets of the hub, against a hub on loopback that serves real Parquet files.

`huggingface_hub` reads its address when it is imported, so the loading happens in
another process.
"""

import json
import os
import re
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest

from helix_jax.text.columns import Columns
from helix_jax.text.docstrings import read_docstrings
from helix_jax.text.registry import REGISTRY
from helix_jax.text.rows import role_fractions

from .hub_server import serve

NAMES = (
    "sst2 mrpc rte mnli stsb ag_news trec dbpedia imdb yahoo wikipedia wikitext alpaca"
    " mmlu"
).split()

_LOAD = """
import json, sys
from helix_jax.errors import CorpusError
from helix_jax.text.corpora import load_corpus
for name, flags in json.loads(sys.argv[1]):
    try:
        corpus = load_corpus(name, **flags)
        record = {
            "classes": corpus.classes,
            "counts": corpus.counts,
            "fingerprint": corpus.fingerprint,
            "texts": {s: [list(t) for t in corpus.read(s)] for s in corpus.splits},
        }
        if corpus._score is not None:
            record["scores"] = corpus.scores("fit").tolist()
    except CorpusError as error:
        record = {"error": str(error)}
    print("RECORD", json.dumps(record))
"""


def _load(endpoint, home, requests, offline=False):
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1" if offline else "0",
    }
    run = subprocess.run(
        [sys.executable, "-c", _LOAD, json.dumps(requests)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    records = re.findall(r"^RECORD (.*)$", run.stdout, re.MULTILINE)
    assert len(records) == len(requests)
    return [json.loads(record) for record in records]


def _card(configs):
    """The head of a data set's README: configurations, their files and class names."""
    lines = ["---", "configs:"]
    for config, splits, _ in configs:
        lines += [f"- config_name: {config}", "  data_files:"]
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    lines += ["dataset_info:"]
    for config, _, features in configs:
        lines += [f"- config_name: {config}", "  features:"]
        for feature, kind in features.items():
            lines += [f"  - name: {feature}"]
            if isinstance(kind, str):
                lines += [f"    dtype: {kind}"]
            elif isinstance(kind, dict):
                lines += [f"    list: {kind['list']}"]
            else:
                lines += ["    dtype:", "      class_label:", "        names:"]
                lines += [f"          '{i}': {name}" for i, name in enumerate(kind)]
    return "\n".join([*lines, "---", ""])


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Repositories of the registry's names and shapes, filled with docstrings."""
    root = tmp_path_factory.mktemp("hub")
    prose = [text.text for text in read_docstrings()[:400]]

    def put(path, rows):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), root / path)

    def fill(repository, config, splits, make, features):
        for split in splits:
            rows = [make(split, i, text) for i, text in enumerate(prose)]
            put(f"{repository}/{config}/{split}-00000-of-00001.parquet", rows)
        return config, splits, features

    def single(split, i, text):
        hidden = split == "test"
        return {"sentence": f"{split} {text}", "label": -1 if hidden else i % 2}

    def pair(split, i, text):
        label = -1.0 if split == "test" else (i % 21) / 4
        return {"sentence1": f"{split} {text}", "sentence2": str(i), "label": label}

    splits = ("train", "validation", "test")
    names = ("negative", "positive")
    glue = [
        fill("nyu-mll/glue", "sst2", splits, single, {"sentence": "string",
                                                      "label": names}),
        fill("nyu-mll/glue", "stsb", splits, pair, {"sentence1": "string",
                                                    "sentence2": "string",
                                                    "label": "float32"}),
    ]  # fmt: skip
    (root / "nyu-mll/glue/README.md").write_text(_card(glue))

    def question(split, i, text):
        return {"text": f"{split} {text}", "coarse_label": i % 6, "fine_label": i % 50}

    # As on the branch of converted files: no README, files in split folders.
    for split in ("train", "test"):
        rows = [question(split, i, text) for i, text in enumerate(prose)]
        put(f"CogComp/trec/default/{split}/0000.parquet", rows)

    def article(split, i, text):
        return {"id": str(i), "url": "", "title": "", "text": f"{text}\n\n" * 2}

    (root / "wikimedia/wikipedia").mkdir(parents=True)
    wikipedia = fill(
        "wikimedia/wikipedia",
        "20231101.en",
        ("train",),
        article,
        dict.fromkeys(("id", "url", "title", "text"), "string"),
    )
    (root / "wikimedia/wikipedia/README.md").write_text(_card([wikipedia]))

    def choice(split, i, text):
        choices = [f"{split} choice {i} {letter}" for letter in "abcd"]
        return {"question": text, "choices": choices, "answer": i % 4}

    mmlu = fill(
        "cais/mmlu",
        "all",
        ("auxiliary_train", "validation", "test"),
        choice,
        {"question": "string", "choices": {"list": "string"}, "answer": tuple("ABCD")},
    )
    (root / "cais/mmlu/README.md").write_text(_card([mmlu]))
    commits = {
        name: f"{i + 1:040x}"
        for i, name in enumerate(
            ("nyu-mll/glue", "CogComp/trec", "wikimedia/wikipedia", "cais/mmlu")
        )
    }
    with serve(root, commits) as (endpoint, requests):
        yield endpoint, requests, commits, prose


def test_named_corpora_load_from_the_hub(hub, tmp_path):
    endpoint, requests, commits, prose = hub
    sst2, trec, stsb, wikipedia, mmlu, moved, generic, missing, config = _load(
        endpoint,
        tmp_path,
        [
            ("sst2", {}),
            ("trec", {}),
            ("stsb", {}),
            ("wikipedia", {"limit": 50}),
            ("mmlu", {"limit": 300}),
            ("sst2", {"revision": "main", "limit": 10}),
            ("nyu-mll/glue:sst2", {}),
            ("no/where", {}),
            ("rte", {}),
        ],
    )
    # The GLUE test split has hidden labels: validation is the test.
    assert sst2["classes"] == ["negative", "positive"]
    assert sst2["counts"]["test"] == len(prose)
    assert all(t[1].startswith("validation ") for t in sst2["texts"]["test"])
    assert {t[1].split()[0] for t in sst2["texts"]["fit"]} == {"train"}
    number = int(sst2["texts"]["test"][7][0].split("/")[-1])
    assert sst2["texts"]["test"][7][2] == number % 2
    origin = sst2["fingerprint"]["origin"]["sst2"]
    assert origin["revision"] == REGISTRY["sst2"].revision
    asked = [line for line in requests if "nyu-mll/glue" in line]
    assert REGISTRY["sst2"].revision in asked[0]

    assert trec["classes"] == ["ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"]
    assert trec["counts"]["test"] == len(prose)

    assert stsb["classes"] is None
    assert len(set(stsb["scores"])) == 21
    assert max(stsb["scores"]) == 5
    assert stsb["texts"]["fit"][0][1].endswith("\n" + stsb["texts"]["fit"][0][0][-1])

    # Articles, cut into texts, of which the first 50 articles were read as a stream.
    texts = [t for split in wikipedia["texts"].values() for t in split]
    assert len(texts) == 50
    assert wikipedia["fingerprint"]["origin"]["wikipedia"]["rows"] == 50
    assert {int(t[0].split("/")[1].split("#")[0]) for t in texts} <= set(range(50))

    assert mmlu["classes"] == ["A", "B", "C", "D"]
    question = mmlu["texts"]["test"][0]
    row = int(question[0].split("/")[-1])
    assert question[1].startswith(prose[row])
    assert question[1].endswith(f"D. test choice {row} d\nAnswer:")
    assert question[2] == row % 4

    # A branch is resolved to its commit, which is what the fingerprint holds.
    found = moved["fingerprint"]["origin"]["sst2"]["revision"]
    assert found == commits["nyu-mll/glue"]
    assert sum(moved["counts"][s] for s in ("fit", "select", "test")) == 10

    # Any repository, by customary columns; its hidden test split is left out.
    assert generic["classes"] == ["negative", "positive"]
    assert generic["counts"]["test"] == len(prose)

    assert re.search(r"cannot load no/where from the hub: .*404", missing["error"])
    assert "give the path of a file" in missing["error"]
    assert re.search(r"nyu-mll/glue:rte .*'rte' not found", config["error"])

    # What has been loaded stays loadable without a connection, at the same commit.
    again, other = _load(
        endpoint,
        tmp_path,
        [("trec", {}), ("trec", {"revision": "0" * 40})],
        offline=True,
    )
    assert again == trec
    message = f"expected commit {'0' * 40}, but .* only {REGISTRY['trec'].revision}"
    assert re.search(message, other["error"])


def test_an_unreachable_hub_says_what_to_do(tmp_path):
    (record,) = _load("http://127.0.0.1:9", tmp_path, [("owner/name", {})])
    message = r"cannot load owner/name from the hub: .*\nWithout a connection give the"
    assert re.search(message, record["error"])


def test_the_registry_is_pinned_and_well_formed():
    assert sorted(REGISTRY) == sorted(NAMES)
    for spec in REGISTRY.values():
        assert re.fullmatch(r"[0-9a-f]{40}", spec.revision)
        assert re.fullmatch(r"[\w-]+/[\w-]+", spec.repository)
        assert isinstance(spec.columns, Columns)
        role_fractions({role for _, role in spec.splits})
