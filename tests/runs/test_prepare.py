"""What a config must be, and what its paths become."""

import dataclasses
from pathlib import Path

import pytest

from helix_jax.errors import PathError, RunError
from helix_jax.runs import option, prepare_config


@dataclasses.dataclass(frozen=True)
class Config:
    workdir: str = option("", "where", names="workdir", required=True)
    source: str = option("", "one", names="side", required=True, tiny="small")
    target: str = option("", "other", names="side", tiny="little")
    models: tuple[str, ...] = option((), "more", names="side")
    data: str = option("docs", "texts", names="corpora", required=True)
    stores: str = option("", "states", names="place")
    pooling: str = option("mean", "how", choices=("mean", "last"))
    splits: tuple[str, ...] = option(("fit",), "which", choices=("fit", "test"))
    layers: tuple[int, ...] = option((), "some")
    limit: int = option(0, "texts", least=0)
    rate: float = option(0.5, "speed", above=0, most=1)
    tiny: bool = option(False, "small")


def prepared(tiny=None, **values):
    return prepare_config(Config(**{"workdir": "w", "source": "s"} | values), tiny=tiny)


def test_paths_are_expanded_once_in_every_kind_of_field(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = prepared(
        workdir="~/w",
        source="embeddings:~/x.npy",
        target="~/model",
        models=["owner/id", "~/a"],
        data="docs,~/books.txt",
        stores="gs://b/~/s",
    )
    assert config.workdir == f"{tmp_path}/w"
    assert config.source == f"embeddings:{tmp_path}/x.npy"
    assert config.target == f"{tmp_path}/model"
    assert config.models == ("owner/id", f"{tmp_path}/a")
    assert config.data == f"docs,{tmp_path}/books.txt"
    assert config.stores == "gs://b/~/s"
    assert prepare_config(config) == config
    (tmp_path / "a,b.csv").touch()
    assert prepared(data="~/a,b.csv").data == f"{tmp_path}/a,b.csv"
    assert prepared(data="$HOME/a").data == "$HOME/a"


def test_all_that_is_missing_is_named_and_nothing_else():
    with pytest.raises(RunError) as caught:
        prepare_config(Config(target="t", data=" "))
    said = str(caught.value)
    for name in ("--workdir (where)", "--source (one)", "--data (texts)"):
        assert name in said
    assert "--target" not in said
    assert "--tiny" in said


def test_tiny_fills_in_what_is_not_given_and_shrinks_what_is_not_said():
    config = prepare_config(Config(workdir="w", tiny=True), tiny={"limit": 40})
    assert (config.source, config.target, config.limit) == ("small", "little", 40)
    config = prepared(tiny={"limit": 40, "rate": 0.1}, limit=7)
    assert (config.target, config.limit, config.rate) == ("", 7, 0.5)
    config = prepare_config(
        Config(workdir="w", source="s", limit=7, tiny=True), tiny={"limit": 40}
    )
    assert (config.source, config.target, config.limit) == ("s", "", 7)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"pooling": "maen"},
            "--pooling must be mean or last, got 'maen'; did you mean",
        ),
        ({"splits": ("fit", "tset")}, r"--splits .* got 'tset'; did you mean test\?"),
        ({"limit": -1}, "--limit must be 0 or more, got -1"),
        ({"rate": 0.0}, "--rate must be above 0, got 0.0"),
        ({"rate": 1.5}, "--rate must be 1 or less"),
        ({"rate": float("nan")}, "--rate must be a finite number"),
        ({"limit": "4"}, "--limit must be a whole number, got '4'"),
        ({"limit": True}, "--limit must be a whole number, got True"),
        ({"limit": 4.0}, "--limit must be a whole number"),
        ({"models": "a"}, "--models must be a tuple of strings, got 'a'"),
        ({"stores": "  "}, "--stores is blank"),
        ({"stores": "gcs://b/x"}, "--stores=gcs://b/x: .* give a local .* or gs://"),
        ({"stores": "setup.py/x"}, "--stores=setup.py/x: setup.py is a file"),
        ({"models": ("a", "b", "a")}, "--models must have different names, got 'a' tw"),
        ({"layers": (-1, 2, -1)}, "--layers must have different numbers, got -1 twic"),
    ],
)
def test_values_that_a_field_cannot_have(values, said, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(RunError, match=said):
        prepared(**values)


def test_a_work_directory_is_here_or_in_a_bucket():
    assert prepared(workdir="gs://b/w/").workdir == "gs://b/w"
    for url in ("http://host/x", "s3://", "memory://x"):
        with pytest.raises(RunError, match=r"expected a local folder, or gs://BUCKET"):
            prepared(workdir=url)


@pytest.mark.parametrize("source", ["embeddings:", "~nobody-is-called-so/x", "a\0b"])
def test_a_path_that_is_none_names_its_flag(source):
    with pytest.raises(PathError, match=r"^--source: "):
        prepared(source=source)


def test_folders_of_a_list_may_be_alike():
    @dataclasses.dataclass(frozen=True)
    class Folders:
        workdirs: tuple[str, ...] = option((), "some", names="folder")

    assert prepare_config(Folders(("a", "a"))).workdirs == ("a", "a")
