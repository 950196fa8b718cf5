"""What a report is about: which models, on which texts, and how many.

    Report(numbers, blocks, about_pair(config, numbers))

This sentence precedes the note of every block.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helix_jax.models import model_name
from helix_jax.text.hashing import document_of

if TYPE_CHECKING:
    from helix_jax.activations import Pair

IMPORTED = "embeddings:"
BRACKETS = "[ ]: 95% bootstrap interval over documents."
# With fewer documents than this, a classifier that is right on 90% gets all of them
# right more often than once in twenty times (.9^28 = .052): the bootstrap interval is
# then [100, 100].
LEAST_DOCUMENTS = 30


def short_model(name: str) -> str:
    """The short name of a model or of a file of embeddings."""
    if name.startswith(IMPORTED):
        return f"embeddings of {Path(name.removeprefix(IMPORTED)).name}"
    return model_name(name)


def short_data(names: str) -> str:
    """Short names of a flag's corpora: hub ids as they are, of paths the last part."""
    parts = [one.strip() for one in names.split(",")]
    return " and ".join(
        Path(one).resolve().name if Path(one).exists() else one for one in parts
    )


def count_texts(pairs: Mapping[str, "Pair"]) -> dict[str, int]:
    """data/SPLIT_texts of every split, and data/test_documents."""
    counts = {f"data/{split}_texts": len(pair.ids) for split, pair in pairs.items()}
    return counts | {"data/test_documents": count_documents(pairs["test"].ids)}


def count_documents(ids: Sequence[str]) -> int:
    """The number of documents that some texts belong to."""
    return len(set(map(document_of, ids)))


def about(who: str, data: str, *facts: str, documents: int | None = None) -> str:
    """A sentence: which models, on which texts, how many; warns if documents are too
    few.

    Args:
      who: the models, or what replaces them.
      data: the corpora.
      *facts: numbers of texts.
      documents: number that the intervals are over; None: there are no intervals.
    """
    sentence = ", ".join(part for part in (who, data, *facts) if part) + "."
    if documents is not None and documents < LEAST_DOCUMENTS:
        sentence += (
            f" WARNING: the test texts are of {documents} documents; an interval over "
            f"fewer than {LEAST_DOCUMENTS} says little. Use more texts (--limit, "
            "--data)."
        )
    return sentence


def sides_of(config: Any) -> str:
    """ "A -> B" for source and target; with their folders if the names are equal."""
    sides = config.source, config.target
    names = [short_model(one) for one in sides]
    if names[0] == names[1] and sides[0] != sides[1]:
        names = ["/".join(Path(one).parts[-2:]) for one in sides]
    return " -> ".join(names)


def about_pair(
    config: Any, summary: Mapping[str, float], *facts: str, intervals: bool = True
) -> str:
    """About a source, a target and the texts that `count_texts` counted."""
    purposes = {"fit": "to fit on", "select": "to choose on", "test": "to test on"}
    counts = [
        f"{summary[f'data/{split}_texts']:,} texts {purpose}"
        for split, purpose in purposes.items()
        if f"data/{split}_texts" in summary
    ]
    documents = summary.get("data/test_documents")
    if documents is not None:
        counts[-1] += f" (of {documents:,} documents)"
    return about(
        sides_of(config),
        short_data(config.data),
        *counts,
        *facts,
        documents=documents if intervals else None,
    )


def about_planted(
    config: Any, planted: str, *facts: str, documents: int | None = None
) -> str:
    """About a source and a target, or about planted data if neither is named."""
    if not config.source:
        return about(planted, "", *facts)
    return about(sides_of(config), short_data(config.data), *facts, documents=documents)


def about_models(who: str, data: str, summary: Mapping[str, float]) -> str:
    """About some models and the texts that all of them read."""
    documents = summary["data/test_documents"]
    return about(
        who,
        short_data(data),
        f"{summary['data/fit_texts']:,} texts to fit on",
        f"{summary['data/test_texts']:,} to test on (of {documents:,} documents)",
        documents=documents,
    )


def about_tokens(config: Any, summary: Mapping[str, float], *facts: str) -> str:
    """About a source, a target and the token pairs that a map was fitted on."""
    counts = []
    if "fit/pairs" in summary:
        counts.append(f"{summary['fit/pairs']:,} token pairs to fit on")
    documents = summary.get("generation/documents")
    if documents is not None:
        counts.append(
            f"{summary['generation/tokens']:,} tokens of {documents:,} "
            "documents to test on"
        )
    return about(
        sides_of(config), short_data(config.data), *counts, *facts, documents=documents
    )
