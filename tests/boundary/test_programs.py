"""Every program with every kind of wrong input: one line, status 2, nothing written."""

import dataclasses
import importlib
import json
import re
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.attack import AttackConfig
from experiments.list import config_class, programs
from experiments.shared.attack_queries import require_queries
from helix_jax import assets, progress
from helix_jax.runs.program import run_program
from helix_jax.text.corpora import load_corpus


@pytest.fixture(autouse=True)
def no_signs_of_life(monkeypatch):
    """Reading a corpus takes more than two seconds on a busy machine, and says so."""
    monkeypatch.setattr(progress, "LONG_SECONDS", 3600.0)


class Program(typing.NamedTuple):
    """A module of experiments/ that can be started."""

    name: str
    config_class: type
    run: Callable

    def fields(self, *, kind: str = "", of: object = None, **what: object):
        """Names of fields that name a kind of thing, are of a type, or say `what`."""
        hints = typing.get_type_hints(self.config_class)
        return [
            field.name
            for field in dataclasses.fields(self.config_class)
            if (not kind or field.metadata.get("names") == kind)
            and (of is None or hints[field.name] == of)
            and all(field.metadata.get(k) == v for k, v in what.items())
        ]

    @property
    def place(self) -> str:
        """The flag of the folder that it writes to."""
        return (self.fields(kind="workdir") or ["output"])[0]


def find(name: str) -> Program:
    """A program by its name."""
    module = importlib.import_module(f"experiments.{name}")
    return Program(name, config_class(name), module.run)


SILENT = ("list", "plan")  # which write nothing
# Which have no --tiny, most of them no work directory; tests/net has theirs.
OPERATIONS = (
    *("certificates", "query", "remote_generation", "serve", "tokens"),
    *("aggregation_server", "silo", "sum_relay", "sum_session"),
)
PROGRAMS = [name for name in programs() if name not in (*SILENT, *OPERATIONS)]


def words_of(program: Program, place: Path, *words: str) -> list[str]:
    """Flags with which a program runs, and some more; what they replace is left out."""
    given = {word.lstrip("-").partition("=")[0] for word in words}
    flags = {program.place: str(place), "tiny": "true"}
    for name in program.fields(kind="model", of=str):
        if name in ("source", "target", "model") and not {"map", name} & given:
            flags[name] = "pebble-llama"
    if program.name == "embedding_migration":
        flags["target"] = "pebble-neox"
    return [*words, *(f"--{k}={v}" for k, v in flags.items() if k not in given)]


# Wrong command lines. Each takes a program and a scratch folder, and gives words with
# what the one line must name; None where the program has no such flag.


def word_after_a_switch(program, folder):
    return ["--tiny", "False"], ["'False'", "--notiny or --tiny=false"]


def word_after_a_list(program, folder):
    for name in program.fields(of=tuple[int, ...]):
        return [f"--{name}", "5", "1"], ["'1'", f"--{name}=5,1"]


def list_with_blanks(program, folder):
    for name in program.fields(of=tuple[str, ...], verbatim=False):
        return [f"--{name}=a,", "b"], ["'b'", f"--{name}=a,b"]


def word_at_the_start(program, folder):
    return ["run"], ["'run'", "--FLAG=VALUE"]


def words_behind_dashes(program, folder):
    return ["--notiny", "--", "--seed=1"], ["'--seed=1'"]


def unknown_flag(program, folder):
    return ["--tinny"], ["--tinny", "did you mean --tiny?"]


def switch_with_a_value(program, folder):
    return ["--notiny=true"], ["--notiny=true", "--tiny=false"]


def no_value(program, folder):
    return [f"--{program.place}"], [f"--{program.place} needs a value"]


def flag_as_value(program, folder):
    words = [f"--{program.place}", "--tiny"]
    return words, [f"--{program.place} needs a value", "--tiny follows"]


def twice(program, folder):
    name = program.place
    return [f"--{name}=a", f"--{name}=b"], [f"--{name} is given twice", "'a' and 'b'"]


def blank(program, folder):
    return [f"--{program.place}= "], [f"--{program.place}"]


def empty_required(program, folder):
    if "data" in program.fields(kind="corpora"):
        return ["--data="], ["missing: --data"]


def number_that_is_a_word(program, folder):
    for name in program.fields(of=int):
        return [f"--{name}=many"], [f"--{name}=many", "whole number"]


def number_with_exponent(program, folder):
    for name in program.fields(of=int):
        return [f"--{name}=1e3"], [f"--{name}=1e3", f"--{name}=1000"]


def number_too_large(program, folder):
    for name in program.fields(of=int):
        return [f"--{name}=1{'0' * 30}"], [f"--{name}", "2^63"]


def negative_count(program, folder):
    for name in program.fields(of=int):
        if not name.endswith("_layer"):
            return [f"--{name}=-3"], [f"--{name}", "or more, got -3"]


def not_a_number(program, folder):
    for name in program.fields(of=float):
        return [f"--{name}=nan"], [f"--{name}=nan", "finite number"]


def infinite(program, folder):
    for name in program.fields(of=float):
        return [f"--{name}=-inf"], [f"--{name}=-inf", "finite number"]


def no_switch(program, folder):
    return ["--tiny=maybe"], ["--tiny=maybe", "true or false"]


def wrong_choice(program, folder):
    for field in dataclasses.fields(program.config_class):
        choices = [one for one in field.metadata.get("choices", ()) if one]
        if choices:
            near = choices[-1][:-1] + "_"
            return [f"--{field.name}={near}"], [f"--{field.name}", near, choices[-1]]


def list_with_a_gap(program, folder):
    for name in program.fields(of=tuple[str, ...]):
        return [f"--{name}=a,,b"], [f"--{name}", "an item is empty"]


def place_is_a_file(program, folder):
    (folder / "file").touch()
    return [f"--{program.place}={folder / 'file'}"], [str(folder / "file"), "a file"]


def place_below_a_file(program, folder):
    (folder / "file").touch()
    place = folder / "file" / "below"
    return [f"--{program.place}={place}"], [str(place), "a file, not a folder"]


def place_is_a_url(program, folder):
    words = [f"--{program.place}=http://host/run"]
    return words, [f"--{program.place}", "a local folder", "http://host/run"]


def place_with_a_long_name(program, folder):
    place = folder / ("x" * 300)
    return [f"--{program.place}={place}"], ["xxxx", "name is too long"]


def place_that_cannot_be_made(program, folder):
    return [f"--{program.place}=/proc/no/run"], ["/proc/no/run", "cannot be"]


def place_of_nobody(program, folder):
    return [f"--{program.place}=~no-such-user/x"], ["~no-such-user"]


def place_of_something_else(program, folder):
    (folder / "thesis").mkdir()
    (folder / "thesis" / "thesis.tex").write_text("\\begin")
    if program.name != "report":  # its page may lie beside other files
        words = [f"--{program.place}={folder / 'thesis'}"]
        return words, ["thesis.tex", "not a work directory"]


def place_of_other_flags(program, folder):
    (folder / "old").mkdir()
    (folder / "old" / "config.json").write_text('{"experiment": "Other"}')
    if program.name != "report":
        words = [f"--{program.place}={folder / 'old'}"]
        return words, ["made with other flags", "--experiment: 'Other' there"]


def place_with_damaged_flags(program, folder):
    (folder / "old").mkdir()
    (folder / "old" / "config.json").write_bytes(b"\xff\xfe{")
    if program.name != "report":
        return [f"--{program.place}={folder / 'old'}"], ["damaged", "config.json"]


def no_flag_file(program, folder):
    path = folder / "no.flags"
    return [f"--flagfile={path}"], [str(path), "no such file"]


def flag_file_is_a_folder(program, folder):
    return [f"--flagfile={folder}"], [str(folder), "a folder, expected a file"]


def flag_file_of_other_text(program, folder):
    (folder / "flags").write_bytes(b"--title=caf\xe9\n")
    return [f"--flagfile={folder / 'flags'}"], ["flags, line 1", "iconv"]


def model_kind(value, *said):
    """A kind of wrong model, given to every flag that names one."""

    def kind(program, folder):
        for name in [*program.fields(kind="model"), *program.fields(kind="side")]:
            if name == "encoder":
                continue
            given = value(folder)
            if name in program.fields(of=tuple[str, ...]):
                given = f"pebble-llama,{given}"
            words = [f"--{name}={given}"]
            if name in ("source", "target"):
                other = {"source": "target", "target": "source"}[name]
                words.append(f"--{other}=pebble-llama")
            return words, [f"--{name}", *said]

    return kind


def made(name: str, content: bytes | None) -> Callable[[Path], Path]:
    """A file, or a folder, of that name in the scratch folder."""

    def make(folder):
        path = folder / name
        path.mkdir() if content is None else path.write_bytes(content)
        return path

    return make


def broken_model(**changes: object) -> Callable[[Path], Path]:
    """An embedded model with another config.json."""

    def make(folder):
        place = folder / "model"
        place.mkdir()
        for path in assets.model_path("pebble-llama").iterdir():
            if path.name != "config.json":
                (place / path.name).symlink_to(path)
        text = (assets.model_path("pebble-llama") / "config.json").read_text()
        changed = json.loads(text) | changes
        (place / "config.json").write_text(json.dumps(changed))
        return place

    return make


def embeddings(name: str, rows: object) -> Callable[[Path], str]:
    """A file of embeddings with the ids of no corpus."""

    def make(folder):
        np.save(folder / name, rows)
        (folder / name).with_suffix(".ids.txt").write_text("a\nb\n")
        return f"embeddings:{folder / name}"

    return make


def layer_out_of_range(program, folder):
    for name in ("source_layer", "source_layers", "layers"):
        if name in program.fields():
            source = ["--source=pebble-llama", "--target=pebble-neox"]
            words = source if name.startswith("source") else []
            return [f"--{name}=99", *words], [f"--{name}", "99", "layers"]


def corpus_kind(value, *said, allowed=()):
    """A kind of wrong corpus, given to --data."""

    def kind(program, folder):
        if program.name in allowed or "data" not in program.fields(kind="corpora"):
            return None
        words = [f"--data={value(folder)}"]
        if program.name == "attack":
            words += ["--source=pebble-llama", "--target=pebble-neox"]
        if program.name in ("encrypted", "private_fit", "private_search", "aggregate"):
            words += ["--source=pebble-llama", "--target=pebble-neox"]
        return words, said

    return kind


def table(text: str) -> bytes:
    return ("text,label\n" + text).encode()


def missing_column(program, folder):
    if "label_column" not in program.fields():
        return None
    (folder / "a.csv").write_bytes(table("one,1\ntwo,2\n"))
    words = [f"--data={folder / 'a.csv'}", "--label_column=topic"]
    words += ["--source=pebble-llama"] * ("source" in program.fields())
    words += ["--target=pebble-neox"] * ("target" in program.fields())
    return words, ["--data", "a.csv", "topic"]


KINDS = {
    kind.__name__: kind
    for kind in (
        word_after_a_switch,
        word_after_a_list,
        list_with_blanks,
        word_at_the_start,
        words_behind_dashes,
        unknown_flag,
        switch_with_a_value,
        no_value,
        flag_as_value,
        twice,
        blank,
        empty_required,
        number_that_is_a_word,
        number_with_exponent,
        number_too_large,
        negative_count,
        not_a_number,
        infinite,
        no_switch,
        wrong_choice,
        list_with_a_gap,
        place_is_a_file,
        place_below_a_file,
        place_is_a_url,
        place_with_a_long_name,
        place_that_cannot_be_made,
        place_of_nobody,
        place_of_something_else,
        place_of_other_flags,
        place_with_damaged_flags,
        no_flag_file,
        flag_file_is_a_folder,
        flag_file_of_other_text,
        layer_out_of_range,
        missing_column,
    )
} | {
    "no_model": model_kind(lambda folder: folder / "none", "none"),
    "model_is_an_empty_folder": model_kind(made("hollow", None), "hollow"),
    "model_is_a_file": model_kind(made("model.safetensors", b"x"), "model.safetensors"),
    "model_of_another_kind": model_kind(broken_model(model_type="t5"), "t5"),
    "model_with_wrong_types": model_kind(
        broken_model(num_hidden_layers="four"), "num_hidden_layers"
    ),
    "no_embeddings": model_kind(lambda folder: f"embeddings:{folder}/no.npy", "no.npy"),
    "embeddings_are_a_folder": model_kind(
        lambda folder: f"embeddings:{made('a.npy', None)(folder)}", "a.npy"
    ),
    "embeddings_of_another_kind": model_kind(
        lambda folder: f"embeddings:{made('a.csv', b'1,2')(folder)}", "a.csv"
    ),
    "embeddings_with_nan": model_kind(
        embeddings("nan.npy", np.full((2, 3), np.nan, np.float32)), "nan.npy"
    ),
    "embeddings_of_one_axis": model_kind(
        embeddings("flat.npy", np.zeros(2, np.float32)), "flat.npy"
    ),
    "no_corpus": corpus_kind(lambda folder: folder / "no.csv", "--data", "no.csv"),
    "corpus_is_an_empty_folder": corpus_kind(made("hollow", None), "--data", "hollow"),
    "corpus_of_another_kind": corpus_kind(made("a.pdf", b"%PDF"), "--data", "a.pdf"),
    "empty_corpus": corpus_kind(made("a.jsonl", b""), "a.jsonl"),
    "corpus_in_latin1": corpus_kind(
        made("a.csv", table("caf\xe9,1\n").decode().encode("latin1")), "a.csv", "iconv"
    ),
    "corpus_with_damaged_lines": corpus_kind(
        made("a.jsonl", b'{"text": "a", "label": 1}\n{"text"\n'), "a.jsonl, line 2"
    ),
    "corpus_of_three_texts": corpus_kind(
        made("a.csv", table("one,0\ntwo,1\nthree,0\n")),
        "a.csv",
        allowed=("tokenizers",),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_wrong_input_ends_in_one_line(name, kind, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    program, place, scratch = find(name), tmp_path / "place", tmp_path / "scratch"
    scratch.mkdir()
    made = KINDS[kind](program, scratch)
    if made is None:
        pytest.skip(f"{name} has no such flag")
    before = contents(tmp_path)
    argv = [f"{name}.py", *words_of(program, place, *made[0])]
    status = run_program(program.config_class, program.run, argv)
    printed = capsys.readouterr()
    assert status == 2, printed
    lines = printed.err.splitlines()
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("error: ")
    for said in made[1]:
        assert said in lines[0]
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Every file below a folder, with what it holds; None for a folder."""
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def run(name: str, *words: object) -> int:
    """The exit status of a program with these flags and no others."""
    program = find(name)
    argv = [name, *map(str, words)]
    return run_program(program.config_class, program.run, argv)


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_missing_is_named_and_what_is_given_is_not(name, tmp_path, capsys):
    program = find(name)
    needed = [
        field.name
        for field in dataclasses.fields(program.config_class)
        if field.metadata.get("required") and not field.default
    ]
    words = [f"--{program.place}={tmp_path / 'w'}"] if program.place in needed else []
    wanted = set(needed) - {program.place}
    if not wanted and name != "report":
        pytest.skip(f"{name} needs no more than a folder")
    status = run(name, *words)
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    for flag in wanted:
        assert f"--{flag} (" in line
    assert f"--{program.place}" not in line
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_help_names_every_flag_and_its_choices(name, capsys):
    program = find(name)
    assert run(name, "--help") == 0
    shown = capsys.readouterr().out
    assert "HELIX_TRACEBACK=1" in shown
    for field in dataclasses.fields(program.config_class):
        assert f"--{field.name}:" in shown or f"--[no]{field.name}:" in shown
    together = " ".join(shown.split())
    for field in dataclasses.fields(program.config_class):
        for choice in field.metadata.get("choices", ()):
            assert choice in together


def test_a_path_is_one_path_for_results_and_states(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = ["--tiny", "--limit=40", "--model=pebble-llama", "--splits=fit"]
    assert run("extract", "--workdir=~/run", *words) == 0
    assert capsys.readouterr().out.endswith(f"results: {tmp_path / 'run'}\n")
    made = {path.name for path in tmp_path.iterdir()}
    assert made - {".cache"} == {"run"}  # and no "~"
    assert list((tmp_path / "run" / "stores").iterdir())
    assert run("extract", "--workdir=~/a", "--stores=~/s", *words) == 0
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["stores"] == str(tmp_path / "s")
    assert list((tmp_path / "s").iterdir())


@pytest.mark.slow
def test_too_few_texts_are_said_before_work_and_advice_that_is_given_works(
    tmp_path, capsys
):
    """A --limit that is too low is refused at once, and the raised one taken."""
    words = [f"--workdir={tmp_path / 'w'}", "--repeats=2", "--shadows=2"]
    assert run("attack", *words, "--limit=2000") == 2
    (line,) = capsys.readouterr().err.splitlines()
    limit = int(re.search(r"raise --limit to (\d+)", line)[1])
    assert 5000 < limit < 8000  # 1,160 of them outside the fit split
    assert not (tmp_path / "w").exists()
    corpus = load_corpus("docstrings", limit=limit)
    config = AttackConfig(source="pebble-llama", target="pebble-neox", limit=limit)
    require_queries(config, corpus)  # does not raise


def test_a_prompt_is_answered_on_the_terminal(tmp_path, capsys):
    words = [f"--workdir={tmp_path / 'w'}", "--source=pebble-llama", "--tiny"]
    assert run("generate", *words, "--prompt=Return the indices") == 0
    shown = capsys.readouterr().out
    path = tmp_path / "w" / "samples.jsonl"
    (line,) = path.read_text().splitlines()
    assert f"Return the indices{json.loads(line)['text'].rstrip()}" in shown
    assert str(path) in shown
    assert run("generate", *words, "--prompt=Return the indices") == 0
    assert capsys.readouterr().out.splitlines()[-4:] == shown.splitlines()[-4:]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--map=none"], "--map=none must be ridge, kl, mlp, or the folder of a map"),
        (["--map=kl"], "--map=kl is given and --target is not"),
        (["--target=pebble-neox", "--map=kl", "--target_layer=1"], "the target's head"),
        (["--target=pebble-neox", "--target_layer=1"], "add --notarget_norm"),
        (["--temperature=-1"], "--temperature must be 0 or more"),
        (["--top_p=0"], "--top_p must be above 0"),
        (["--encoder=none/here"], "--encoder: 'none/here'"),
    ],
)
def test_flags_of_generate_that_do_not_go_together(
    words, said, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    place = f"--workdir={tmp_path / 'w'}"
    assert run("generate", place, "--source=pebble-llama", "--prompt=a", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("aggregate", ["--silos=2"], "--silos must be 3 or more"),
        ("aggregate", ["--dropped=3"], "leaves 2, but 4 must stay"),
        ("aggregate", ["--threshold=2"], "--threshold must be 3 to 5"),
        ("aggregate", ["--source=pebble-llama"], "--target is not"),
        ("aggregate", ["--data=other"], "--data=other is given without --source"),
        ("encrypted", ["--data=trec"], "--data=trec is given without --source"),
        ("private_fit", ["--rows=20"], "allow a fit of 4 directions"),
        ("private_fit", ["--rank=99"], "more than the 24 dimensions"),
        ("encrypted", ["--policy=rounded:99"], "--policy=rounded:99"),
        ("attack", ["--policies=logits,all"], "--policies=all"),
        ("pretrain", ["--part=1"], "--part=1 counts from 0"),
        ("pretrain", ["--width=33"], "--width=33 must be an even multiple"),
        ("pretrain", ["--batch=8", "--microbatch=3"], "--microbatch=3 must divide"),
        ("classify", ["--few_shot=500"], "501 are needed"),
        ("scaling", ["--least=500"], "--least=500 needs to be below"),
        ("similarity", ["--neighbours=4000"], "--neighbours=4000 must be below"),
        ("similarity", ["--models=pebble-llama"], "two or more"),
        ("pairs", ["--models=pebble-llama,pebble-llama"], "different names"),
        ("extract", ["--revision=main"], "revision='main' is for hub ids"),
        ("embedding_migration", ["--cutoffs="], "missing: --cutoffs"),
        ("ood", ["--ood_data=docstrings"], "no text that --data does not hold"),
        ("unpaired", ["--target_data=none"], "--target_data"),
        ("encrypted_generation", ["--sizes=12"], "WIDTHxVOCABULARY"),
        ("encrypted_generation", ["--sizes=0x5"], "widths of 1 to 16,384"),
        ("encrypted_generation", ["--sizes=64x1000000"], "vocabularies of 1 to"),
        ("encrypted", ["--classes=1000000"], "--classes must be 200000 or less"),
        ("extract", ["--token_budget=63"], "--token_budget=63 has no room for a text"),
        ("extract", ["--mesh=rows:2"], "--mesh: mesh 'rows:2': 'rows' is no axis"),
        ("extract", ["--mesh=tensor:3"], "heads, which the mesh's tensor:3 does not"),
        ("extract", ["--stores=foo://b/x"], "--stores=foo://b/x"),
        ("extract", ["--workdir=gs:/b/x"], "write gs://b/x"),
        ("methods", ["--methods=ridge,ridge"], "got 'ridge' twice"),
        ("embedding_migration", ["--cutoffs=5,5"], "got 5 twice"),
        ("fit", ["--source=states.npy"], "write embeddings:states.npy"),
        ("fit", ["--data=docstrings,"], "a name is empty"),
        ("replicate", ["--claims=gravity"], "gravity"),
        ("replicate", ["--shared=none"], "--shared=none"),
        ("report", ["--workdirs=none"], "--workdirs=none is not a folder"),
    ],
)
@pytest.mark.slow
def test_what_does_not_go_together_is_said_before_work(
    name, words, said, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    place = f"--{find(name).place}={tmp_path / 'w'}"
    given = [] if any(word.startswith("--workdir=") for word in words) else [place]
    assert run(name, *given, "--tiny", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())
