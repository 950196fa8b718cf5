"""Blocks survive the disk and become pages, plots and LaTeX."""

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest

from experiments.report import ReportConfig, run
from helix_jax.errors import RunError
from helix_jax.reports import (
    Answer,
    Bars,
    Curves,
    Matrix,
    Samples,
    Section,
    Table,
    load_blocks,
    save_answer,
    save_blocks,
    write_page,
)
from helix_jax.reports.plots import draw

BLOCKS = [
    Table(
        "Accuracy", ["arm", "%"], [["a <b> & c", 51.2], ["none", None]], note="n & m"
    ),
    Bars(
        "Bars",
        "accuracy, %",
        ["p", "q"],
        {"s": [(1, 0.5, 2), (3, 2, 4)], "t": [(2, 1, 3), (1, 1, 1)]},
        {"chance": 1.5},
    ),
    Matrix(
        "CKA",
        "CKA",
        ["a", "b"],
        ["c"],
        [[0.5], [math.nan]],
        marks=[["*"], [""]],
        row_label="cut",
        column_label="entry",
    ),
    Curves(
        "ROC",
        "false positives",
        "true positives",
        {
            "energy": [(0, 0), (0.5, 0.9), (1, 1)],
            "band": [(0, 0, 0, 0.1), (1, 1, 0.9, 1)],
        },
        diagonal=True,
        marks={"plateau": 0.5},
    ),
    Samples(
        "Texts",
        [{"prompt": "Once <upon>\na time", "mapped": "there was", "control": "\n\n"}],
    ),
]


@pytest.fixture
def workdir(tmp_path):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    record = {"experiment": "FitConfig", "seed": 3, "few": ["1", "2"]}
    (folder / "config.json").write_text(json.dumps(record))
    save_blocks(folder, BLOCKS)
    (folder / "DONE").touch()
    return folder


class Parsed(HTMLParser):
    """Tags that are open, and what the page says and fetches."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.addresses = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not value.startswith("#"):
                self.addresses.append(value)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_blocks_come_back_as_they_were(workdir):
    back = load_blocks(workdir)
    assert [type(one) for one in back] == [type(one) for one in BLOCKS]
    assert back[0].rows == [["a <b> & c", 51.2], ["none", None]]
    assert back[1].series["s"] == [[1, 0.5, 2], [3, 2, 4]]
    assert back[2].values == [[0.5], [None]]
    assert back[4].items == BLOCKS[4].items


def test_numpy_values_are_plain_numbers_on_disk(tmp_path):
    rows = [["a", np.float32(0.5), np.int64(3)]]
    save_blocks(tmp_path, [Table("t", ["a", "b", "c"], rows)])
    (tmp_path / "DONE").touch()
    assert load_blocks(tmp_path)[0].rows == [["a", 0.5, 3]]


def test_many_groups_lie_and_keep_their_names():
    missing = (math.nan,) * 3
    groups = [f"method {number}" for number in range(9)]
    series = {"fitted": [(1, 0.5, 2)] * 9, "control": [missing] * 8 + [(0, -1, 1)]}
    figure = draw(Bars("Bars", "R2", groups, series))
    (axes,) = figure.axes
    assert [one.get_text() for one in axes.get_yticklabels()] == groups
    assert axes.get_xlabel() == "R2"
    assert axes.yaxis_inverted()


def test_ticks_of_a_short_logarithmic_axis_are_plain_numbers():
    points = [(100, 0.5, 0.4, 0.6), (480, 0.4, 0.3, 0.5), (900, 0.3, 0.2, 0.4)]
    figure = draw(Curves("C", "texts", "loss", {"ridge": points}, log_x=True))
    figure.canvas.draw()
    shown = {one.get_text() for one in figure.axes[0].get_xticklabels()}
    assert {"100", "200", "500"} <= shown


def test_every_series_looks_different():
    series = {str(number): [(0, number), (1, number)] for number in range(20)}
    lines = draw(Curves("C", "x", "y", series)).axes[0].lines
    looks = {(one.get_color(), one.get_linestyle(), one.get_marker()) for one in lines}
    assert len(looks) == 20


def test_a_run_without_blocks_shows_its_summary(tmp_path):
    (tmp_path / "summary.json").write_text('{"test/r2": 0.5}')
    (tmp_path / "DONE").touch()
    (table,) = load_blocks(tmp_path)
    assert table.rows == [("test/r2", 0.5)]


@pytest.mark.slow
def test_the_page_is_one_well_formed_file(workdir, tmp_path):
    output = tmp_path / "report"
    page = run(ReportConfig(workdirs=(str(workdir.parent),), output=str(output)))
    parsed = Parsed(page.read_text())
    assert not parsed.open
    assert not parsed.addresses  # nothing is fetched from anywhere
    text = " ".join(parsed.text)
    for said in ("fit: one", "a <b> & c", "51.2", "n & m", "Once <upon>", "seed"):
        assert said in text.lower() or said in text
    assert "(white space alone, 2 characters)" in text
    assert page.read_text().count("<svg") == 3


def page_of(path, blocks, **said):
    return write_page(path, "P", [Section("Run", {}, blocks, **said)])


@pytest.mark.slow
def test_a_page_opens_with_answer_and_figure_and_folds_the_samples_at_its_end(
    workdir, tmp_path
):
    save_blocks(workdir, BLOCKS[::-1])  # samples first
    save_answer(workdir, Answer("It is 51.2%.", "A to B, 40 texts."))
    output = tmp_path / "report"
    page = run(ReportConfig(workdirs=(str(workdir),), output=str(output))).read_text()
    body = page[page.index("<body>") :]
    order = ["It is 51.2%.", "A to B, 40 texts.", ">Bars</h3>", "Accuracy</h3>"]
    order += [
        "<details><summary>Texts: 1, collapsed",
        "Once &lt;upon",
        "How it was made",
    ]
    places = [body.index(one) for one in order]
    assert places == sorted(places)
    assert body.index("<svg") < body.index("<table")
    markdown = (output / "report.md").read_text()
    order = ["**It is 51.2%.**", "### Bars", "### Accuracy", "<details>", "Once <upon"]
    places = [markdown.index(one) for one in order]
    assert places == sorted(places)


def test_what_all_notes_say_is_said_once(tmp_path):
    about = "A to B, 40 texts."
    blocks = [Table("T", ["a"], [["x"]], note=f"{about} Of the test split.")] * 2
    text = page_of(tmp_path / "p.html", blocks, answer="Yes.", about=about).read_text()
    assert text.count(about) == 1
    assert text.count('<p class="note">Of the test split.</p>') == 2


def test_no_two_figures_share_an_id(tmp_path):
    curves = Curves("C", "x", "y", {"s": [(0, 1, 0, 2), (1, 2, 1, 3)]})
    text = page_of(tmp_path / "p.html", [curves, curves]).read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)) > 10
    named = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    assert named <= set(ids)


def test_a_wide_figure_has_a_slim_form_and_a_narrow_one_does_not(tmp_path):
    series = {"s": [(1, 0.5, 2)] * 5}
    wide = Bars("W", "x", [f"group {i}" for i in range(5)], series)
    text = page_of(tmp_path / "p.html", [wide, BLOCKS[1]]).read_text()
    assert re.findall(r'figure class="(\w*)"', text) == ["full", "slim", ""]
    inches = draw(wide, widest=4.3).get_figwidth()
    assert inches == 4.3 < draw(wide).get_figwidth()


@pytest.mark.parametrize(
    ("columns", "kinds"),
    [(2, "scroll"), (5, "scroll stacked"), (12, "scroll stacked broad")],
)
def test_a_table_too_wide_for_a_phone_or_paper_is_stacked(tmp_path, columns, kinds):
    interval = "66.7 [59.0, 74.3]"
    header = ["arm", *(f"quantity {i}" for i in range(columns))]
    table = Table("T", header, [["a-b", *[interval] * columns]])
    text = page_of(tmp_path / "p.html", [table]).read_text()
    assert re.findall(r'<div class="([\w ]+)">', text)[0] == kinds
    assert text.count('<span class="whole">[59.0, 74.3]</span>') == columns
    assert text.count('data-name="quantity 0"') == 1
    assert text.count('<td class="number"') == columns


@pytest.mark.slow
def test_markdown_and_parts_for_a_paper(workdir, tmp_path):
    output = tmp_path / "report"
    run(ReportConfig(workdirs=(str(workdir),), output=str(output)))
    text = (output / "report.md").read_text()
    assert "> (white space alone, 2 characters)" in text
    images = re.findall(r"!\[.*?\]\((.+?)\)", text)
    assert len(images) == 3
    for name in images:
        assert (output / name).read_bytes().startswith(b"\x89PNG")
    parts = output / "parts"
    assert r"\toprule" in (parts / "0-0.tex").read_text()
    for number in (1, 2, 3):
        ElementTree.parse(parts / f"0-{number}.svg")
        assert (parts / f"0-{number}.png").stat().st_size > 2000
    first = (parts / "0-1.svg").read_bytes()
    run(ReportConfig(workdirs=(str(workdir),), output=str(output)))
    assert (parts / "0-1.svg").read_bytes() == first


def test_what_is_no_work_directory_is_refused(tmp_path):
    with pytest.raises(RunError, match="missing: --workdirs"):
        run(ReportConfig())
    with pytest.raises(RunError, match="holds no DONE"):
        run(ReportConfig(workdirs=(str(tmp_path),)))
    (tmp_path / "DONE").touch()
    (tmp_path / "report.json").write_text('[{"kind": "Pie"}]')
    with pytest.raises(RunError, match="is damaged"):
        run(ReportConfig(workdirs=(str(tmp_path),), output=str(tmp_path / "r")))
