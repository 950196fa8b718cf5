import hashlib
import inspect
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from helix_jax.errors import CorpusError
from helix_jax.text import docstrings
from helix_jax.text.docstrings import (
    CLASSES,
    MINIMUM_CHARACTERS,
    file_docstrings,
    package_versions,
    read_docstrings,
)
from helix_jax.text.hashing import document_of, split_of

SOURCE = '''
"""The module, which does a number of things that are worth a line of text."""

import os

class Outer:
    """An outer class.

        Indented by four more, as people do when they are
    careless; long enough to be kept.
    """

    def method(self):
        """A method with a docstring that is long enough to be kept, once."""
        def inner():
            """A function inside a function, which is a detail and left out."""

    @property
    def size(self):
        """The first definition of this name, which a setter then repeats."""

    @size.setter
    def size(self, value):
        """The second definition of this name, which is a text of its own."""

    def short(self):
        """Too short."""

if os.name == "posix":
    async def branch():
        """A function defined in a branch of an if statement, sixty long."""
else:
    async def branch():
        """The same function in the other branch; it is of the same name."""
'''


def test_one_file_gives_the_stated_texts(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    found = dict(file_docstrings("p/module.py", path))
    assert list(found) == [
        "p/module.py#",
        "p/module.py#Outer",
        "p/module.py#Outer.method",
        "p/module.py#Outer.size",
        "p/module.py#Outer.size~2",
        "p/module.py#branch",
        "p/module.py#branch~2",
    ]
    assert found["p/module.py#Outer"].splitlines()[0] == "An outer class."
    assert "\n    Indented by four" in found["p/module.py#Outer"]


def test_files_are_parsed_and_never_run(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(f'"""{"A module. " * 9}"""\nraise SystemExit("executed")\n')
    assert len(list(file_docstrings("m", path))) == 1
    path.write_text('"""A template. """ * {{ not python }}')
    assert list(file_docstrings("m", path)) == []


def test_texts_equal_what_the_imported_objects_say():
    found = {text.id: text.text for text in read_docstrings()}
    compared = 0
    functions = [*vars(np.linalg).values(), pd.DataFrame.from_dict, pd.Series.sum]
    for function in functions:
        function = inspect.unwrap(function) if callable(function) else None
        if not inspect.isfunction(function) or not function.__doc__:
            continue
        file = function.__code__.co_filename.split("site-packages/")[-1]
        text = found.get(f"{file}#{function.__qualname__}")
        if text is not None:
            assert text == inspect.getdoc(function).strip()
            compared += 1
    assert compared >= 20


def test_corpus_is_labelled_distinct_and_large_enough():
    texts = read_docstrings()
    ids = {text.id for text in texts}
    contents = {" ".join(text.text.lower().split()) for text in texts}
    assert len(ids) == len(contents) == len(texts) > 15_000
    assert min(len(text.text) for text in texts) >= MINIMUM_CHARACTERS
    assert sum(len(text.text) for text in texts) > 15e6
    assert all(text.id.split("/")[0] == CLASSES[text.label] for text in texts)
    for label in range(len(CLASSES)):
        mine = [text for text in texts if text.label == label]
        assert len(mine) >= 200
        assert len({document_of(text.id) for text in mine}) >= 40
        assert {split_of(text.id) for text in mine} == {"fit", "select", "test"}


@pytest.mark.slow
def test_order_and_content_are_the_same_in_another_process(tmp_path):
    code = (
        "import hashlib; from helix_jax.text.docstrings import read_docstrings; "
        "print(hashlib.sha256(repr(read_docstrings()).encode()).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},  # parsed there once more
        capture_output=True,
        text=True,
        check=True,
    )
    here = hashlib.sha256(repr(read_docstrings()).encode()).hexdigest()
    assert run.stdout.strip() == here
    assert package_versions()["numpy"] == np.__version__


def test_a_missing_package_is_named(monkeypatch):
    listed = {**docstrings.PACKAGES, "nowhere_at_all": ("no-where", ".")}
    monkeypatch.setattr(docstrings, "PACKAGES", listed)
    message = r"'nowhere_at_all' is not installed.*numpy.*pip install no-where"
    with pytest.raises(CorpusError, match=message):
        docstrings._package_folder("nowhere_at_all")
