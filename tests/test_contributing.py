"""CONTRIBUTING.md and the overview of the documents name what there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PATH = re.compile(
    r"(?<![\w/.])(?:[\w.-]+/)*[\w-]+(?:/|\.(?:py|md|txt|toml|typed))(?!\w)"
)
MADE = {"site/", ".venv/"}  # by the commands


def named_paths(text: str) -> set[str]:
    """The paths in code of a text, with their folders; NAME stands for a new one."""
    code = " ".join(re.findall(r"```.*?```|`[^`]+`", text, re.DOTALL))
    folders = r"(?:benchmarks|docs|experiments|helix_jax|tests)/[\w/.-]+"
    found = {one.rstrip(".,") for one in re.findall(folders, code)}
    return {one for one in found | set(PATH.findall(code)) if "NAME" not in one} - MADE


def test_the_paths_that_are_named_are_there():
    named = named_paths(TEXT)
    assert len(named) > 40
    assert {one for one in named if not (ROOT / one).exists()} == set()


def test_a_path_that_is_not_there_is_found():
    assert named_paths("`helix_jax/ood/gone.py` and `tests/gone`, in GONE.md") == {
        "helix_jax/ood/gone.py",
        "tests/gone",
    }


@pytest.mark.parametrize("file", ["CONTRIBUTING.md", "README.md"])
def test_the_targets_of_make_are_there(file):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    code = "\n".join(
        re.findall(r"```bash.*?```|`[^`]+`", (ROOT / file).read_text(), re.S)
    )
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", code, re.M))
    assert named
    assert named <= targets


def test_the_overview_and_the_site_have_every_page():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    overview = (ROOT / "docs" / "README.md").read_text()
    assert {one for one in pages if f"]({one})" not in overview} == set()
    site = (ROOT / "mkdocs.yml").read_text()
    assert {one for one in pages if f": {one}\n" not in site} == set()


def test_what_is_named_in_the_code_is_there():
    for file, name in (
        ("helix_jax/private/wire.py", "KINDS"),
        ("helix_jax/private/wire.py", "VERSION"),
        ("helix_jax/net/capabilities.py", "PROTOCOL"),
        ("helix_jax/ood/detectors.py", "DETECTORS"),
    ):
        assert f"`{name}`" in TEXT
        assert re.search(rf"^{name}\b", (ROOT / file).read_text(), re.M)
    assert "`test_higher_is_stranger`" in TEXT
    test = (ROOT / "tests/ood/test_detectors.py").read_text()
    assert "\ndef test_higher_is_stranger(" in test
