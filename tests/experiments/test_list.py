"""The list of programs says what is there, and no more."""

import dataclasses
import re
from pathlib import Path

import pytest

from experiments import embedding_migration, fit
from experiments import list as listing
from helix_jax.errors import RunError

README = Path(__file__).parents[2] / "README.md"


def test_the_programs_are_those_of_the_readme():
    listed = re.findall(r"^\| `experiments\.(\w+)`", README.read_text(), re.MULTILINE)
    assert len(listed) > 20
    assert sorted(listed) == listing.programs()


def test_every_program_has_a_question_and_says_what_was_measured(capsys):
    assert listing.run(listing.ListConfig()) == {}
    assert "| embedding_migration " in capsys.readouterr().out
    (table,) = listing.compute(listing.ListConfig(), None).blocks
    rows = {name: (question, cost) for name, question, cost in table.rows}
    assert list(rows) == listing.programs()
    assert all(question.endswith((".", "?")) for question, _ in rows.values())
    question, cost = rows["embedding_migration"]
    assert question == embedding_migration.__doc__.splitlines()[0]
    assert f"Cost: {cost}." in embedding_migration.__doc__.splitlines()
    assert "40 seconds" in cost


def test_what_is_no_program_and_what_says_nothing(tmp_path, monkeypatch):
    started = '\nif __name__ == "__main__":\n    pass\n'
    (tmp_path / "blocks.py").write_text('"""Not started."""\n')
    (tmp_path / "silent.py").write_text(f"import os\n{started}")
    (tmp_path / "told.py").write_text(f'"""Why?\n\nCost: an hour.\n"""\n{started}')
    monkeypatch.setattr(listing, "FOLDER", tmp_path)
    (table,) = listing.compute(listing.ListConfig(), None).blocks
    assert table.rows == [["silent", None, None], ["told", "Why?", "an hour"]]


def test_the_flags_of_one():
    (table,) = listing.compute(listing.ListConfig(program="fit"), None).blocks
    flags = {flag: default for flag, default, _ in table.rows}
    fields = dataclasses.fields(fit.FitConfig)
    assert list(flags) == [f"--{field.name}" for field in fields]
    assert flags["--pooling"] == "auto"
    assert flags["--source"] is None
    migration = listing.flags_table("embedding_migration")
    assert ["--cutoffs", "1,10,100", "k of recall at k"] in migration.rows


def test_an_unknown_program_is_refused():
    with pytest.raises(RunError, match=r"--program must be .* did you mean pretrain\?"):
        listing.run(listing.ListConfig(program="pretran"))
