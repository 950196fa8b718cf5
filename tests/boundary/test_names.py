"""Names of files as they reach flags, stores and pages: nothing in them is cut."""

import os
import threading
from pathlib import Path

import pytest

from experiments.shared.options import TextOptions
from experiments.shared.sides import folder_name
from helix_jax.errors import CorpusError
from helix_jax.reports import Section, write_markdown
from helix_jax.reports.blocks import Samples
from helix_jax.runs.prepare import prepare_config
from helix_jax.storage import open_folder, read_json, write_json
from helix_jax.text.corpora import load_corpus
from helix_jax.textfile import read_entries

NAMES = ["task#7", "50%", "a%41b", "what?", "a|b", "a b", "\u00e9" * 150, "x+y" * 900]


@pytest.mark.parametrize("name", NAMES)
def test_stores_of_any_corpus_name_open_here_and_under_a_url(tmp_path, name):
    place = f"{folder_name(name)}-0123456789abcdef"
    for root in (f"memory://{tmp_path.name}", str(tmp_path)):
        write_json(open_folder(f"{root}/{place}"), "a.json", {"name": name})
        assert read_json(open_folder(f"{root}/{place}"), "a.json") == {"name": name}
    assert os.listdir(tmp_path) == [place]


def test_ordinary_names_of_stores_stay():
    for name in ("owner--model-docstrings-fit", "a+b,c=d-x (1)@2:3-test", "caf\u00e9"):
        assert folder_name(name) == name


def test_commas_in_paths_of_a_flag(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.jsonl", "c,,d.jsonl", "e.jsonl"):
        (tmp_path / name).write_text(f'{{"text": "text of {name}"}}\n')
    config = prepare_config(TextOptions(data="a,b.jsonl,c,,d.jsonl,e.jsonl"))
    assert load_corpus(config.data).name == "a,b+c,,d+e"


def test_pipes_are_refused_before_they_are_waited_for(tmp_path):
    pipe = tmp_path / "it.jsonl"
    os.mkfifo(pipe)
    caught = []

    def read():
        with pytest.raises(CorpusError, match=r"it.jsonl is a pipe or a device") as one:
            load_corpus(pipe)
        caught.append(one)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert caught
    with pytest.raises(ValueError, match=r"/dev/zero is a pipe or a device, expected"):
        read_entries(Path("/dev/zero"))


def test_odd_line_breaks_of_a_sample_stay_in_its_line(tmp_path):
    block = Samples("Texts", [{"text": "one\u2028two\nthree"}])
    section = Section("Run", {}, [block])
    page = write_markdown(tmp_path / "page.md", "Page", [section])
    assert "> one\u2028two\n> three\n" in page.read_text("utf-8")
