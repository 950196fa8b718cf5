"""The corpora on the hub that are known by name, each pinned to a commit.

All are Parquet at the pinned commit; none runs a loading script. `trec` is pinned to a
commit of the hub's own Parquet conversion of its repository.
"""

import dataclasses

from helix_jax.text.columns import Columns


@dataclasses.dataclass(frozen=True)
class HubSpec:
    """Where a corpus is on the hub, and how to read it.

    Attributes:
      repository: "owner/name".
      config: configuration of the data set, or None for its only one.
      revision: commit, or None for the newest.
      splits: hub split -> role "train", "dev" or "test".
      columns: which columns hold what; None to choose by customary names.
      running_text: the text column is running text, one line or article per row, to be
        cut into texts by `paragraph_texts`.
      classes: class names, if the label column is plain integers.
      stream_rows: read at most this many rows, as a stream; None downloads all.
    """

    repository: str
    config: str | None = None
    revision: str | None = None
    splits: tuple[tuple[str, str], ...] = (("train", "train"), ("test", "test"))
    columns: Columns | None = None
    running_text: bool = False
    classes: tuple[str, ...] | None = None
    stream_rows: int | None = None


_GLUE = "nyu-mll/glue"
_GLUE_COMMIT = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
_TRAIN = ("train", "train")
# The labels of these GLUE test splits are hidden: the validation split is the test.
_HIDDEN_TEST = (_TRAIN, ("validation", "dev"))
_SENTENCES = Columns(("sentence1", "sentence2"), "label", pair=True)

REGISTRY = {
    "sst2": HubSpec(
        _GLUE, "sst2", _GLUE_COMMIT, _HIDDEN_TEST, Columns(("sentence",), "label")
    ),
    "mrpc": HubSpec(
        _GLUE,
        "mrpc",
        _GLUE_COMMIT,
        (_TRAIN, ("validation", "dev"), ("test", "test")),
        _SENTENCES,
    ),
    "rte": HubSpec(_GLUE, "rte", _GLUE_COMMIT, _HIDDEN_TEST, _SENTENCES),
    "mnli": HubSpec(
        _GLUE,
        "mnli",
        _GLUE_COMMIT,
        (_TRAIN, ("validation_matched", "dev")),
        Columns(("premise", "hypothesis"), "label", pair=True),
    ),
    # Scores 0 to 5, not classes: read them with Corpus.scores.
    "stsb": HubSpec(_GLUE, "stsb", _GLUE_COMMIT, _HIDDEN_TEST, _SENTENCES),
    "ag_news": HubSpec(
        "fancyzhx/ag_news",
        revision="eb185aade064a813bc0b7f42de02595523103ca4",
        columns=Columns(("text",), "label"),
    ),
    "trec": HubSpec(
        "CogComp/trec",
        revision="65752bf53af25bc935a0dce92fb5b6c930728450",
        columns=Columns(("text",), "coarse_label"),
        classes=("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"),
    ),
    "dbpedia": HubSpec(
        "fancyzhx/dbpedia_14",
        revision="9abd46cf7fc8b4c64290f26993c540b92aa145ac",
        columns=Columns(("content",), "label"),
    ),
    "imdb": HubSpec(
        "stanfordnlp/imdb",
        revision="e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
        columns=Columns(("text",), "label"),
    ),
    "yahoo": HubSpec(
        "community-datasets/yahoo_answers_topics",
        revision="6652a1e7c94f7260a0bfd0c9092dd48e2d536ea1",
        columns=Columns(("question_title", "question_content", "best_answer"), "topic"),
    ),
    "wikipedia": HubSpec(
        "wikimedia/wikipedia",
        "20231101.en",
        "b04c8d1ceb2f5cd4588862100d08de323dccfbaa",
        (_TRAIN,),
        Columns(("text",), id="id"),
        running_text=True,
        stream_rows=50_000,
    ),
    "wikitext": HubSpec(
        "Salesforce/wikitext",
        "wikitext-103-raw-v1",
        "b08601e04326c79dfdd32d625aee71d232d685c3",
        (_TRAIN, ("validation", "dev"), ("test", "test")),
        Columns(("text",)),
        running_text=True,
    ),
    "alpaca": HubSpec(
        "tatsu-lab/alpaca",
        None,
        "dce01c9b08f87459cf36a430d809084718273017",
        (_TRAIN,),
        Columns(("instruction", "input", "output")),
    ),
    "mmlu": HubSpec(
        "cais/mmlu",
        "all",
        "c30699e8356da336a370243923dbaf21066bb9fe",
        (("auxiliary_train", "train"), ("validation", "dev"), ("test", "test")),
        Columns(
            ("question",),
            "answer",
            template="{question}\nA. {choices[0]}\nB. {choices[1]}\nC. {choices[2]}\n"
            "D. {choices[3]}\nAnswer:",
        ),
        classes=("A", "B", "C", "D"),
    ),
}
