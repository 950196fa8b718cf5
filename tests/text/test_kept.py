"""Texts kept in the user's cache: those that were parsed, or parsed anew."""

import os

import pytest

from helix_jax.paths import user_cache
from helix_jax.text import docstrings
from helix_jax.text.kept import FILES, kept_texts
from helix_jax.types import Text

TEXTS = (Text("a#1", 'line\r\n\u2028 and "more"\x85', 3), Text("a#2", "東京", None))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda: sorted(user_cache("texts", "some").iterdir())


def never():
    raise AssertionError("parsed again")


def test_what_is_read_back_is_what_was_parsed(cache):
    assert kept_texts("some", "k", lambda: iter(TEXTS)) == TEXTS
    assert kept_texts("some", "k", never) == TEXTS
    assert kept_texts("some", "other", lambda: TEXTS[:1]) == TEXTS[:1]
    assert len(cache()) == 2


@pytest.mark.parametrize(
    "damage",
    [lambda old: old[:-3], lambda old: b"", lambda old: old.replace(b"3", b"4")],
)
def test_a_damaged_file_is_parsed_again_and_mended(cache, damage):
    kept_texts("some", "k", lambda: TEXTS)
    (path,) = cache()
    path.write_bytes(damage(path.read_bytes()))
    assert kept_texts("some", "k", lambda: TEXTS) == TEXTS
    assert kept_texts("some", "k", never) == TEXTS


def test_the_newest_files_are_kept(cache):
    for number in range(FILES + 2):
        kept_texts("some", str(number), lambda: TEXTS)
        os.utime(cache()[-1], (number, number))
    assert [path.stem for path in cache()] == ["2", "3", "4", "5"]


def test_without_a_cache_texts_are_parsed(tmp_path):
    (tmp_path / "cache").write_text("a file in its way")
    assert kept_texts("some", "k", lambda: TEXTS) == TEXTS


def test_a_changed_source_file_is_parsed_again(tmp_path, monkeypatch):
    package = tmp_path / "toy_package"
    package.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(docstrings, "PACKAGES", {"toy_package": ("toy", ".")})
    monkeypatch.setattr(docstrings, "CLASSES", ("toy_package",))
    read = docstrings.read_docstrings.__wrapped__
    for words in ("A sentence. ", "A sentence! ", "Another one. "):
        (package / "__init__.py").write_text(f'"""{words * 9}"""\n')
        assert [text.text for text in read()] == [(words * 9).strip()]
