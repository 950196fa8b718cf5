"""Data sets of the hub, against a hub on loopback that serves real Parquet files."""

import re

import pytest

from helix_jax.text.columns import Columns
from helix_jax.text.hashing import document_of
from helix_jax.text.hub import _read
from helix_jax.text.registry import REGISTRY
from helix_jax.text.rows import role_fractions

from ..hub_server import load_in_process, serve
from .hub_data import DATA, DBPEDIA, NEWEST, ROWS, YAHOO, trec, write_hub

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
            record["scores"] = {s: corpus.scores(s).tolist() for s in corpus.splits}
    except CorpusError as error:
        record = {"error": str(error)}
    print("RECORD", json.dumps(record))
"""

# name -> official splits behind "fit", "select" and "test"; label column; class names.
CUT = ("train", "train", "test")
HIDDEN = ("train", "train", "validation")
NAMED = {
    "sst2": (HIDDEN, "label", ["negative", "positive"]),
    "mrpc": (
        ("train", "validation", "test"),
        "label",
        ["not_equivalent", "equivalent"],
    ),
    "rte": (HIDDEN, "label", ["entailment", "not_entailment"]),
    "mnli": (
        ("train", "train", "validation_matched"),
        "label",
        ["entailment", "neutral", "contradiction"],
    ),
    "ag_news": (CUT, "label", ["World", "Sports", "Business", "Sci/Tech"]),
    "trec": (CUT, "coarse_label", ["ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"]),
    "dbpedia": (CUT, "label", DBPEDIA),
    "imdb": (CUT, "label", ["neg", "pos"]),
    "yahoo": (CUT, "topic", YAHOO),
    "mmlu": (("auxiliary_train", "validation", "test"), "answer", list("ABCD")),
    "alpaca": (("train",) * 3, None, None),
    "stsb": (HIDDEN, None, None),
}
OTHERS = ("wikipedia", "wikitext")


def row_of(name, split, number):
    """The row of a hub split, as it was written."""
    spec = REGISTRY[name]
    if name == "trec":
        return trec(split, number)
    configs = {config.name: config for config in DATA[spec.repository]}
    config = configs[spec.config] if spec.config else DATA[spec.repository][0]
    return config.row(split, number)


def text_of(name, row):
    """The text that a row of a corpus should have."""
    if name == "mmlu":
        lines = (f"{a}. {c}" for a, c in zip("ABCD", row["choices"]))
        return "\n".join([row["question"], *lines, "Answer:"])
    columns = {
        "sst2": ("sentence",),
        "mnli": ("premise", "hypothesis"),
        "dbpedia": ("content",),
        "yahoo": ("question_title", "question_content", "best_answer"),
        "alpaca": ("instruction", "input", "output"),
    }
    columns |= dict.fromkeys(("mrpc", "rte", "stsb"), ("sentence1", "sentence2"))
    lines = [row[column].strip() for column in columns.get(name, ("text",))]
    return "\n".join(line for line in lines if line)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """(endpoint, list of requests)."""
    with serve(write_hub(tmp_path_factory.mktemp("hub"))) as served:
        yield served


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The cache that everything is loaded into."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def loaded(hub, home):
    """name -> what was loaded, and the requests that it took."""
    endpoint, requests = hub
    names = [*NAMED, *OTHERS]
    settings = {"wikipedia": {"limit": 50}}
    asked = [(name, settings.get(name, {})) for name in names]
    records = load_in_process(_LOAD, endpoint, home, asked)
    return dict(zip(names, records)), list(requests)


def test_every_name_is_tested():
    assert sorted([*NAMED, *OTHERS]) == sorted(REGISTRY)


@pytest.mark.parametrize("name", NAMED)
def test_rows_of_a_named_corpus(loaded, name):
    record = loaded[0][name]
    official, label, classes = NAMED[name]
    assert "error" not in record
    assert record["classes"] == classes
    seen = {}
    for part, split in zip(("fit", "select", "test"), official):
        texts = record["texts"][part]
        assert len(texts) == record["counts"][part] > 0
        for where, (row_id, text, own_label) in enumerate(texts):
            assert row_id.startswith(f"{name}/")
            found, number = re.search(r"(\w+)/(\d+)$", row_id).groups()
            row = row_of(name, found, int(number))
            assert found == split
            assert text == text_of(name, row)
            assert own_label == (None if label is None else row[label])
            if name == "stsb":
                assert record["scores"][part][where] == row["label"]
            document = row_id.split("#")[0]
            assert seen.setdefault(document, part) == part
    if classes is not None:
        labels = {text[2] for text in record["texts"]["test"]}
        assert labels == set(range(len(classes)))
    # Every row of the official splits is in one of ours, and no other row.
    kept = sum(len(texts) for texts in record["texts"].values())
    assert kept == ROWS * len(set(official))
    origin = record["fingerprint"]["origin"][name]
    assert origin["revision"] == REGISTRY[name].revision
    assert origin["repository"] == REGISTRY[name].repository
    assert origin["config"] == REGISTRY[name].config


def test_scores_of_stsb(loaded):
    scores = loaded[0]["stsb"]["scores"]["test"]
    assert len(set(scores)) == 21
    assert (min(scores), max(scores)) == (0, 5)


def test_running_text_of_wikitext(loaded):
    """No word is lost, and an article is a document in one split."""
    record = loaded[0]["wikitext"]
    assert record["classes"] is None
    for part, split in (("fit", "train"), ("select", "validation"), ("test", "test")):
        rows = [row_of("wikitext", split, number)["text"] for number in range(ROWS)]
        texts = record["texts"][part]
        words = " ".join(text for _, text, _ in texts).split()
        assert words == " ".join(rows).split()
        documents = [row_id.split("#")[0] for row_id, _, _ in texts]
        assert set(documents) == {f"wikitext/{split}/{n}" for n in range(ROWS // 5)}
        firsts = [text for row_id, text, _ in texts if row_id.endswith("#0")]
        assert [text.splitlines()[0] for text in firsts] == [
            f"= {split.title()} {n} =" for n in range(ROWS // 5)
        ]


def test_articles_of_wikipedia_are_a_stream(loaded):
    """The first 50 articles, cut into texts; the others are never read."""
    record = loaded[0]["wikipedia"]
    texts = [text for split in record["texts"].values() for text in split]
    assert len(texts) == 50
    assert record["fingerprint"]["origin"]["wikipedia"]["rows"] == 50
    for row_id, text, label in texts:
        article = int(re.fullmatch(r"wikipedia/(\d+)#\d+\.\d+", row_id)[1]) - 1000
        assert article < 50
        row = row_of("wikipedia", "train", article)
        assert set(text.split()) <= set(row["text"].split())
        assert label is None


def test_requests_are_for_the_pinned_commits(loaded):
    for spec in REGISTRY.values():
        asked = [line for line in loaded[1] if spec.repository in line]
        assert spec.revision in asked[0]
        assert not any(NEWEST in line for line in asked)


@pytest.mark.slow
def test_other_revisions_repositories_and_names(hub, home, loaded):
    moved, generic, missing, config, revision = load_in_process(
        _LOAD,
        hub[0],
        home,
        [
            ("sst2", {"revision": "main", "limit": 10}),
            ("nyu-mll/glue:sst2", {}),
            ("no/where", {}),
            ("nyu-mll/glue:cola", {}),
            ("trec", {"revision": "v9"}),
        ],
    )
    # A branch is resolved to its commit, which is what the fingerprint holds.
    assert moved["fingerprint"]["origin"]["sst2"]["revision"] == NEWEST
    assert sum(moved["counts"][split] for split in ("fit", "select", "test")) == 10

    # Any repository, by customary columns; its hidden test split is left out.
    assert generic["classes"] == ["negative", "positive"]
    assert generic["counts"]["test"] == ROWS

    assert re.search(r"cannot load no/where from the hub: .*404", missing["error"])
    assert "give the path of a file" in missing["error"]
    assert re.search(r"nyu-mll/glue:cola .*'cola' not found", config["error"])
    assert re.search(r"cannot load CogComp/trec .*RevisionNot", revision["error"])


@pytest.mark.slow
def test_what_has_been_loaded_stays_loadable_offline(hub, home, loaded):
    endpoint, requests = hub
    before = len(requests)
    names = ["trec", "mnli", "imdb", "mmlu"]
    *again, other, stream = load_in_process(
        _LOAD,
        endpoint,
        home,
        [
            *((name, {}) for name in names),
            ("trec", {"revision": "0" * 40}),
            ("wikipedia", {"limit": 50}),
        ],
        offline=True,
    )
    assert again == [loaded[0][name] for name in names]
    message = f"expected commit {'0' * 40}, but .* only {REGISTRY['trec'].revision}"
    assert re.search(message, other["error"])
    assert "Without a connection give the path" in stream["error"]
    assert len(requests) == before


def test_an_unreachable_hub_says_what_to_do(tmp_path):
    requests = [("owner/name", {})]
    (record,) = load_in_process(_LOAD, "http://127.0.0.1:9", tmp_path, requests)
    message = r"cannot load owner/name from the hub: .*\nWithout a connection give the"
    assert re.search(message, record["error"])


def test_the_registry_is_pinned_and_well_formed():
    for spec in REGISTRY.values():
        assert re.fullmatch(r"[0-9a-f]{40}", spec.revision)
        assert re.fullmatch(r"[\w-]+/[\w-]+", spec.repository)
        assert isinstance(spec.columns, Columns)
        role_fractions({role for _, role in spec.splits})


def test_odd_characters_of_an_article_stay_where_they_are():
    """U+2028 ends no line of a text, nor a mark in an article's id its document."""
    import datasets

    articles = {
        "one#1": "first\u2028half\x0bof a line\r\nsecond\rthird " + "word " * 50,
        "one#2": "another\x85article\x0c" + "word " * 50,
        "%23": "the last",
    }
    table = datasets.Dataset.from_dict(
        {"id": list(articles), "text": list(articles.values())}
    )
    rows = list(_read(table, "wikipedia", "train", REGISTRY["wikipedia"], None))
    expected = [
        text.replace("\r\n", "\n").replace("\r", "\n").strip()
        for text in articles.values()
    ]
    assert [row.text for row in rows] == expected
    assert [row.id for row in rows] == [
        "wikipedia/one%231#0.0",
        "wikipedia/one%232#0.0",
        "wikipedia/%2523#0.0",
    ]
    assert len({document_of(row.id) for row in rows}) == len(articles)
