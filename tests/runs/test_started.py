"""Programs read their flags before anything that is slow to import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helix_jax.runs.started import find_main, find_whole

ROOT = Path(__file__).parents[2]
SLOW = """
datasets flax huggingface_hub jax matplotlib optax pyarrow scipy tensorstore tokenizers
torch transformers
""".split()
PROGRAMS = sorted(
    f"experiments.{path.stem}"
    for path in (ROOT / "experiments").glob("*.py")
    if not path.stem.startswith("__")
)
BENCHMARKS = sorted(
    f"benchmarks.{path.stem}"
    for path in (ROOT / "benchmarks").glob("*.py")
    if "start_main(main)" in path.read_text()
)
# As `python -m` starts each, in one process; which slow library is there after it.
START = """
import contextlib, io, json, runpy, sys
from absl import flags
found = {}
for name in sys.argv[2:]:
    said = io.StringIO()
    flags.FLAGS.__init__()  # where benchmarks define theirs
    sys.argv[:] = [name, "WORD"]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code
    found[name] = [status, said.getvalue(), sorted(sys.modules)]
print(json.dumps(found))
"""


def run(*words: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def started(word, names):
    """Name -> status and words of a program that has imported nothing slow."""
    done = run("-c", START.replace("WORD", word), "-", *names, check=True)
    found = json.loads(done.stdout)
    assert len(found) == len(names)
    for name, (*_, modules) in found.items():
        slow = [one for one in SLOW if one in modules]
        assert not slow, f"{name} {word} has imported {slow}"
    return {name: (status, said) for name, (status, said, _) in found.items()}


@pytest.mark.parametrize("word", ["--help", "--no_such_flag=1"])
@pytest.mark.slow
def test_help_and_a_wrong_flag_need_nothing_slow(word):
    assert len(PROGRAMS) > 30
    for name, (status, said) in started(word, PROGRAMS).items():
        if word == "--help":
            assert status == 0, name
            assert "--compilation_cache" in said, name
        else:
            assert (status, "no flag --no_such_flag" in said) == (2, True), name


@pytest.mark.parametrize("word", ["--help", "--tinny"])
def test_a_benchmark_says_what_it_measures_and_refuses_a_wrong_flag_at_once(word):
    assert len(BENCHMARKS) > 20
    for name, (status, said) in started(word, BENCHMARKS).items():
        if word == "--help":
            assert status == 0, name
            assert f"python -m {name}" in said, name
            assert "--[no]tiny:" in said, name
        else:
            meant = "no flag --tinny (did you mean --tiny?)"
            assert (status, meant in said) == (2, True), name


def test_the_list_of_programs_needs_nothing_slow():
    code = START.replace('"WORD"', '"--program="')
    done = run("-c", code, "-", "experiments.list", check=True)
    status, said, modules = json.loads(done.stdout)["experiments.list"]
    assert status == 0
    assert "classify" in said
    assert not [one for one in SLOW if one in modules]


def test_required_flags_stand_first_and_are_marked():
    said = run("-m", "experiments.fit", "--help", check=True).stdout
    parts = said.split("fit.py, required:")[1].split("fit.py:")
    assert [one in parts[0] for one in ("--source:", "--target:", "--workdir:")] == [
        True
    ] * 3
    assert "--limit:" not in parts[0]
    assert "--source:" not in parts[1]


def test_a_reader_who_has_enough_ends_help_without_a_word():
    command = f"{sys.executable} -m experiments.fit --help | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_started_module_is_found_by_its_name(tmp_path):
    package = tmp_path / "made"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "program.py").write_text(
        "import dataclasses\n"
        "from helix_jax.runs.program import start_program\n"
        'if __name__ != "__main__":\n'
        "    from fractions import Fraction\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Config:\n"
        "    size: int = 3\n"
        "def run(config):\n"
        "    print(__name__, Fraction(config.size, 6))\n"
        'if __name__ == "__main__":\n'
        "    start_program(Config, run)\n"
    )
    for words in (["-m", "made.program"], [str(package / "program.py")]):
        path = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""}
        done = subprocess.run(
            [sys.executable, *words, "--size=2"],
            cwd=tmp_path,
            env=path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.stdout, done.stderr) == ("made.program 1/3\n", "")


def test_the_flags_of_a_started_function_are_those_of_its_module(tmp_path):
    package = tmp_path / "made"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "benchmark.py").write_text(
        "from absl import flags\n"
        "from helix_jax.runs.flags import integers_flag\n"
        "from helix_jax.runs.program import start_main\n"
        'if __name__ != "__main__":\n'
        "    from fractions import Fraction\n"
        'SIZE = flags.DEFINE_integer("size", 3, "a number")\n'
        'LEFT = flags.DEFINE_integer("left", 5, "another", lower_bound=1)\n'
        'ROWS = integers_flag("rows", [7], "several")\n'
        "def main(words):\n"
        "    print(__name__, Fraction(SIZE.value, 6), LEFT.value, ROWS.value)\n"
        'if __name__ == "__main__":\n'
        "    start_main(main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "made.benchmark", "--size=2", "--rows=1,2"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("made.benchmark 1/3 5 [1, 2]\n", "")


def test_what_was_not_started_stays_what_it_is():
    assert find_whole(Path, run) == (Path, run)
    assert find_main(run) is run
