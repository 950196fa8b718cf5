"""What tables say in words: planted summaries, without a run."""

import dataclasses
import re

import numpy as np
import pytest

from experiments import similarity
from experiments.scaling import CONTROL, score_tables
from experiments.shared import names
from experiments.shared.about import LEAST_DOCUMENTS, about, about_pair, short_data
from experiments.tokenizers import rate_words
from experiments.unpaired import found_words
from helix_jax.alignment import GRADIENT_METHODS, METHODS
from helix_jax.ood import DETECTORS
from helix_jax.reports import Table, load_blocks, save_blocks
from helix_jax.reports.terminal import print_tables, with_about
from helix_jax.similarity.scores import MEASURES, Scores
from helix_jax.similarity.summary import summarise
from helix_jax.stats import (
    Interval,
    LearningCurve,
    bootstrap_interval,
    least_discoveries,
)
from helix_jax.text.compatibility import RATES


@dataclasses.dataclass(frozen=True)
class Sides:
    source: str = "pebble-llama"
    target: str = "org/other"
    data: str = "docstrings"


def test_everything_that_is_named_has_words():
    assert set(names.METHOD_NAMES) == {*METHODS, *GRADIENT_METHODS}
    assert set(names.MEASURE_NAMES) == set(MEASURES)
    assert set(names.DETECTOR_NAMES) == set(DETECTORS)
    assert set(names.CURVE_NAMES) == {*METHODS, *GRADIENT_METHODS, CONTROL}
    rates = list(map(rate_words, RATES.values()))
    words = [*names.METHOD_NAMES.values(), *rates]
    assert not [one for one in words if "_" in one]
    assert len(set(rates)) == len(RATES)


def test_a_pair_its_corpus_and_its_texts_are_said():
    counts = {"data/fit_texts": 1200, "data/test_texts": 90, "data/test_documents": 41}
    assert about_pair(Sides(), counts) == (
        "pebble-llama -> org/other, docstrings, 1,200 texts to fit on, 90 texts to "
        "test on (of 41 documents)."
    )


@pytest.mark.parametrize("documents", [2, LEAST_DOCUMENTS - 1, LEAST_DOCUMENTS])
def test_few_documents_are_warned_of(documents):
    said = about("A -> B", "trec", documents=documents)
    assert ("WARNING" in said) == (documents < LEAST_DOCUMENTS)
    assert (f"of {documents} documents" in said) == (documents < LEAST_DOCUMENTS)


def test_the_rule_of_few_documents():
    # Right on 90%: at the least number all are right less than once in twenty times.
    assert 0.9 ** (LEAST_DOCUMENTS - 1) < 0.05
    interval = bootstrap_interval(np.ones(12), np.arange(12), resamples=50)
    assert float(interval.low) == float(interval.high) == 1  # says nothing of .9


def test_names_of_files(tmp_path):
    (tmp_path / "my.csv").write_text("text\na\n")
    assert short_data(f"{tmp_path}/my.csv,ag_news") == "my.csv and ag_news"


def test_shown_and_shown_again_alike(tmp_path, capsys):
    rows = [["mapped", 0.25, None], ["mean", float("nan"), True]]
    block = Table("Maps", ["map", "R2", "found"], rows, note="Of the test split.")
    (tmp_path / "DONE").touch()
    told = with_about([block], "A -> B, trec, 40 texts.")
    save_blocks(tmp_path, told)
    print_tables(told)
    first = capsys.readouterr().out
    print_tables(load_blocks(tmp_path), most=1)
    assert capsys.readouterr().out == first
    assert "Maps" in first
    assert "nan" not in first
    assert "A -> B, trec, 40 texts. Of the test split. -: no such value." in first
    assert "| mean   |    - |   yes |" in first
    (saved,) = load_blocks(tmp_path)
    assert saved.note.startswith("A -> B, trec")


def test_a_full_table_has_no_word_of_missing_values():
    (told,) = with_about([Table("T", ["a"], [["x"]])], "A -> B.")
    assert told.note == "A -> B."


@pytest.mark.parametrize(
    ("share", "deals", "said"),
    [
        (0.0, 1, "no map found"),
        (1.0, 1, "yes"),
        (0.0, 3, "no map found in 3 deals"),
        (2 / 3, 3, "in 2 of 3 deals"),
        (None, 3, None),
    ],
)
def test_found_is_said_in_words(share, deals, said):
    interval = None if share is None else Interval(share, 0, 1)
    assert found_words(interval, deals) == said


def test_a_plateau_that_is_none_is_no_number():
    scores = Interval(np.ones(2), np.ones(2), np.ones(2))
    curve = LearningCurve((500, 900), scores, scores, Interval(500, 300, 900))
    falling = curve._replace(plateau=Interval(900, 500, 900))
    tables = score_tables({CONTROL: curve, "ridge": falling}, {}, "")
    for table in tables:
        cells = [row[-1] for row in table.rows]
        assert cells[:2] == ["500 [300, 900]", "none: still falling"]


def planted_scores(permutations, pairs=3):
    """Scores that no shuffle reaches."""
    rng = np.random.default_rng(0)
    null = rng.uniform(0.1, 0.3, (permutations, pairs))
    scores = Scores(
        {"linear_cka": np.full(pairs, 0.87)},
        {"linear_cka": rng.uniform(0.85, 0.89, (20, pairs))},
        {"linear_cka": null},
        {},
    )
    return summarise(scores, "linear_cka", [str(i) for i in range(40)])


@pytest.mark.parametrize(
    ("permutations", "found", "least"),
    [
        (19, "3 of 3", 3),
        (18, "none possible", None),
        (59, "3 of 3", 1),
        (39, "3 of 3", 2),
    ],
)
def test_discoveries_at_a_high_similarity(permutations, found, least):
    results = {"linear_cka": planted_scores(permutations)}
    assert least_discoveries(3, permutations, rate=0.05) == least
    (row,) = similarity.mean_table(results, permutations).rows
    assert row[0] == "linear CKA"
    assert row[-1] == found
    said = similarity.similarity_answer(results)
    assert re.fullmatch(
        r"linear CKA is 0\.870 \[0\.\d+, 0\.\d+\] on average over 3 pairs, and 0\.\d+ "
        "between shuffled texts.",
        said,
    )


def test_the_tiny_run_can_discover_one_pair_of_three():
    shuffles = similarity.TINY_SHUFFLES
    assert least_discoveries(3, shuffles, rate=0.05) == 1
    assert least_discoveries(3, shuffles - 1, rate=0.05) == 2


@pytest.mark.parametrize("before", range(70, 92))
def test_the_brackets_of_a_note_are_not_broken(before, capsys):
    note = "word " * (before // 5) + "w" * (before % 5) + " [ ]: 95% interval."
    print_tables([Table("T", ("a",), ((1,),), note=note)])
    said = capsys.readouterr().out
    assert "[ ]:" in said
    assert max(map(len, said.splitlines())) <= 88
