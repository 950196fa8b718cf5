"""The registry's data sets in small: their real configurations, splits, columns and
class names, filled with made-up prose.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow
import pyarrow.parquet

from helix_jax.text.registry import REGISTRY

from ..activations.made import make_texts
from ..hub_server import Repository

ROWS = 90  # of every split
PROSE = [f"“Où?” {text.text}." for text in make_texts(ROWS, longest=40)]
NEWEST = "f" * 40


class Config(NamedTuple):
    """A configuration of a data set.

    Attributes:
      name: its name.
      splits: its splits.
      features: column -> dtype, class names, or ["string"] for lists of strings.
      row: (split, number) -> the row.
      folder: where its files lie, if not in a folder of its name.
      default: whether the data set's README says that it is the default.
    """

    name: str
    splits: tuple[str, ...]
    features: dict
    row: Callable[[str, int], dict]
    folder: str | None = None
    default: bool = False


def prose(split: str, number: int) -> str:
    """A text that no other row has."""
    return f"{split} {number}. {PROSE[number]}"


def hidden(split: str, label):
    """GLUE hides the labels of most test splits."""
    return -1 if split.startswith("test") else label


def sentences(split: str, number: int, label) -> dict:
    return {
        "sentence1": prose(split, number),
        "sentence2": f"second {number}",
        "label": label,
        "idx": number,
    }


def pairs(*names: str) -> dict:
    kinds = {"sentence1": "string", "sentence2": "string"}
    return kinds | {"label": names or "float32", "idx": "int32"}


def article_line(split: str, number: int) -> dict:
    """WikiText has a row a line: title, blank, paragraph, blank."""
    article = number // 5
    paragraph = " " + " ".join([prose(split, number)] * 3) + " \n"
    title = f" = {split.title()} {article} = \n"
    section = f" = = Part {article} = = \n"
    return {"text": ("", title, "", paragraph, section)[number % 5]}


GLUE = ("train", "validation", "test")
YAHOO = (
    "Society & Culture,Science & Mathematics,Health,Education & Reference,"
    "Computers & Internet,Sports,Business & Finance,Entertainment & Music,"
    "Family & Relationships,Politics & Government"
).split(",")
DBPEDIA = (
    "Company EducationalInstitution Artist Athlete OfficeHolder MeanOfTransportation "
    "Building NaturalPlace Village Animal Plant Album Film WrittenWork"
).split()
DATA = {
    "nyu-mll/glue": (
        Config(
            "sst2",
            GLUE,
            {"sentence": "string", "label": ("negative", "positive"), "idx": "int32"},
            lambda split, i: {
                "sentence": f"{prose(split, i)} ",
                "label": hidden(split, i % 2),
                "idx": i,
            },
        ),
        Config(
            "mrpc",
            GLUE,
            pairs("not_equivalent", "equivalent"),
            lambda split, i: sentences(split, i, i % 2),
        ),
        Config(
            "rte",
            GLUE,
            pairs("entailment", "not_entailment"),
            lambda split, i: sentences(split, i, hidden(split, i % 2)),
        ),
        Config(
            "mnli",
            (
                "train",
                "validation_matched",
                "validation_mismatched",
                "test_matched",
                "test_mismatched",
            ),
            {
                "premise": "string",
                "hypothesis": "string",
                "label": ("entailment", "neutral", "contradiction"),
                "idx": "int32",
            },
            lambda split, i: {
                "premise": prose(split, i // 3),
                "hypothesis": f"hypothesis {i}",
                "label": hidden(split, i % 3),
                "idx": i,
            },
        ),
        Config(
            "stsb",
            GLUE,
            pairs(),
            lambda split, i: sentences(split, i, float(hidden(split, i % 21 / 4))),
        ),
    ),
    "fancyzhx/ag_news": (
        Config(
            "default",
            ("train", "test"),
            {"text": "string", "label": ("World", "Sports", "Business", "Sci/Tech")},
            lambda split, i: {"text": prose(split, i), "label": i % 4},
            "data",
        ),
    ),
    "fancyzhx/dbpedia_14": (
        Config(
            "dbpedia_14",
            ("train", "test"),
            {"label": DBPEDIA, "title": "string", "content": "string"},
            lambda split, i: {
                "label": i % 14,
                "title": f"title {i}",
                "content": f" {prose(split, i)}",
            },
            default=True,
        ),
    ),
    "stanfordnlp/imdb": (
        Config(
            "plain_text",
            ("train", "test", "unsupervised"),
            {"text": "string", "label": ("neg", "pos")},
            lambda split, i: {
                "text": prose(split, i),
                "label": -1 if split == "unsupervised" else i * 2 // ROWS,
            },
            default=True,
        ),
    ),
    "community-datasets/yahoo_answers_topics": (
        Config(
            "yahoo_answers_topics",
            ("train", "test"),
            {
                "id": "int32",
                "topic": YAHOO,
                "question_title": "string",
                "question_content": "string",
                "best_answer": "string",
            },
            lambda split, i: {
                "id": i,
                "topic": i % 10,
                "question_title": f"{split} title {i}",
                "question_content": f"content {i}" if i % 3 else "",
                "best_answer": prose(split, i),
            },
            default=True,
        ),
    ),
    "wikimedia/wikipedia": (
        Config(
            "20231101.en",
            ("train",),
            dict.fromkeys(("id", "url", "title", "text"), "string"),
            lambda split, i: {
                "id": str(1000 + i),
                "url": f"https://en.wikipedia.org/wiki/{i}",
                "title": f"title {i}",
                "text": f"{prose(split, i)}\n\nReferences\n\nExternal links",
            },
        ),
    ),
    "Salesforce/wikitext": (
        Config("wikitext-103-raw-v1", GLUE, {"text": "string"}, article_line),
        Config("wikitext-2-raw-v1", GLUE, {"text": "string"}, article_line),
    ),
    "tatsu-lab/alpaca": (
        Config(
            "default",
            ("train",),
            dict.fromkeys(("instruction", "input", "output", "text"), "string"),
            lambda split, i: {
                "instruction": f"instruction {i}",
                "input": f"input {i}" if i % 2 else "",
                "output": prose(split, i),
                "text": f"Below is an instruction. {prose(split, i)}",
            },
            "data",
        ),
    ),
    "cais/mmlu": (
        Config(
            "abstract_algebra",
            ("test", "validation", "dev"),
            {
                "question": "string",
                "subject": "string",
                "choices": ["string"],
                "answer": tuple("ABCD"),
            },
            lambda split, i: {
                "question": "never asked for",
                "subject": "abstract_algebra",
                "choices": list("wxyz"),
                "answer": 0,
            },
        ),
        Config(
            "all",
            ("test", "validation", "dev", "auxiliary_train"),
            {
                "question": "string",
                "subject": "string",
                "choices": ["string"],
                "answer": tuple("ABCD"),
            },
            lambda split, i: {
                "question": prose(split, i),
                "subject": "" if split == "auxiliary_train" else "anatomy",
                "choices": [f"choice {i} {letter}" for letter in "wxyz"],
                "answer": i % 4,
            },
        ),
    ),
}


def trec(split: str, number: int) -> dict:
    return {
        "text": prose(split, number),
        "coarse_label": number % 6,
        "fine_label": number % 50,
    }


def card(configs: tuple[Config, ...]) -> str:
    """The head of a data set's README: configurations, their files and class names."""
    lines = ["---", "dataset_info:"]
    for config in configs:
        lines += [f"- config_name: {config.name}", "  features:"]
        for feature, kind in config.features.items():
            lines += [f"  - name: {feature}"]
            if isinstance(kind, str):
                lines += [f"    dtype: {kind}"]
            elif kind == ["string"]:
                lines += ["    sequence: string"]
            else:
                lines += ["    dtype:", "      class_label:", "        names:"]
                lines += [f"          '{i}': {name}" for i, name in enumerate(kind)]
        lines += ["  splits:"]
        for split in config.splits:
            lines += [f"  - name: {split}", f"    num_examples: {ROWS}"]
    lines += ["configs:"]
    for config in configs:
        lines += [f"- config_name: {config.name}", "  data_files:"]
        for split in config.splits:
            path = f"{config.folder or config.name}/{split}-*"
            lines += [f"  - split: {split}", f"    path: {path}"]
        if config.default:
            lines += ["  default: true"]
    return "\n".join([*lines, "---", ""])


def write_rows(path: Path, rows: list[dict], features: dict | None = None) -> None:
    """A Parquet file; integers and floats as narrow as the real ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows)
    for i, (name, kind) in enumerate((features or {}).items()):
        if kind in ("int32", "float32"):
            column = table[name].cast(kind.replace("float32", "float"))
            table = table.set_column(i, name, column)
    pyarrow.parquet.write_table(table, path)


def write_hub(root: Path) -> dict[str, Repository]:
    """All repositories of the registry, at its commits and at a newer one."""
    for repository, configs in DATA.items():
        for config in configs:
            folder = root / repository / (config.folder or config.name)
            for split in config.splits:
                rows = [config.row(split, i) for i in range(ROWS)]
                file = folder / f"{split}-00000-of-00001.parquet"
                write_rows(file, rows, config.features)
        (root / repository / "README.md").write_text(card(configs))
    # As on the branch of converted files: no README, files in folders of their split.
    for split in ("train", "test"):
        rows = [trec(split, i) for i in range(ROWS)]
        write_rows(root / f"CogComp/trec/default/{split}/0000.parquet", rows)
    return {
        spec.repository: Repository(
            {spec.revision: root / spec.repository, NEWEST: root / spec.repository},
            {"main": NEWEST},
        )
        for spec in REGISTRY.values()
    }
