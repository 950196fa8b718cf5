"""Words of a command line: every one is part of a flag, or refused by name."""

import pytest
from absl import flags

from helix_jax.errors import RunError
from helix_jax.runs.command_line import parse_flags


def known():
    values = flags.FlagValues()
    own = {"flag_values": values}
    flags.DEFINE_bool("final_norm", True, "a switch", **own)
    flags.DEFINE_bool("nothing", False, "a switch that begins with no", **own)
    flags.DEFINE_integer("limit", 0, "a number", **own)
    flags.DEFINE_float("rate", 0.5, "a number", **own)
    flags.DEFINE_string("prompt", "", "a text", **own)
    flags.DEFINE_list("names", ["x"], "a list", **own)
    flags.DEFINE_multi_string("grid", [], "repeated", **own)
    return values


def parse(*words, **kwargs):
    values = known()
    rest = parse_flags(words, values, **kwargs)
    return {name: values[name].value for name in values}, rest


def test_every_spelling_of_a_flag():
    found, rest = parse(
        "--nofinal_norm",
        "-limit=3",
        "--rate",
        "-2",
        "--prompt=a=b --c",
        "--names=a,b",
        "--grid=a=1",
        "--grid=b=2",
        "--nothing",
    )
    assert rest == []
    assert found == {
        "final_norm": False,
        "nothing": True,
        "limit": 3,
        "rate": -2.0,
        "prompt": "a=b --c",
        "names": ["a", "b"],
        "grid": ["a=1", "b=2"],
    }
    assert parse("--final_norm=0")[0]["final_norm"] is False
    assert parse("--final_norm=yes")[0]["final_norm"] is True
    assert parse("--limit=3", "--limit", "3")[0]["limit"] == 3
    assert parse("--prompt=")[0]["prompt"] == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--final_norm", "False"], "'False' after --final_norm; write --nofinal_norm"),
        (["--final_norm", "no"], "write --nofinal_norm or --final_norm=false"),
        (["--nofinal_norm", "true"], "write --final_norm or --final_norm=true"),
        (["--final_norm", "0", "--limit=1"], "'0' after --final_norm"),
        (["--names", "a", "b", "c"], "'b', 'c' after --names a; write --names=a,b,c"),
        (["--names=a,", "b"], "write --names=a,b"),
        (["--names", "0", "-1"], "'-1' after --names 0; write --names=0,-1"),
        (["--prompt", "Once", "upon"], "write --prompt='Once upon'"),
        (["--limit", "3", "4"], "--limit takes one number"),
        (["classify", "--limit=3"], "'classify' at the start"),
        (["--final_norm", "a", "--names=x", "b"], "2 words are not part of a flag"),
        (["-", "--limit=3"], "'-' at the start"),
    ],
)
def test_words_left_over_are_named_with_what_to_write(words, said):
    with pytest.raises(RunError) as caught:
        parse(*words)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--limt=3"], r"no flag --limt \(did you mean --limit\?\)"),
        (["--nofinal_nrm"], r"did you mean --nofinal_norm\?"),
        (["--zzz", "--yyy=1"], "--zzz .*; there is no flag --yyy"),
        (["--limit"], "--limit needs a value, but it is the last word"),
        (["--prompt", "--limit=3"], "--prompt needs a value, but --limit=3 follows"),
        (["--prompt", "--nofinal_norm"], "--prompt needs a value"),
        (["--prompt", "--"], "--prompt needs a value, but -- follows"),
        (["--limit=3", "--limit=4"], "--limit is given twice, as '3' and '4'"),
        (["--final_norm", "--nofinal_norm"], "--final_norm is given twice"),
        (["--names=a", "--names=b"], "write --names=a,b for both"),
        (["--limit="], "--limit=: expected a whole number"),
        (["--limit=1e3"], "write --limit=1000"),
        (["--limit=20,000"], "write --limit=20000"),
        (["--limit=0.5"], "expected a whole number, such as 100.$"),
        (["--rate=nan"], "--rate=nan: expected a finite number"),
        (["--rate=1e999"], "finite"),
        (["--rate=0,5"], "finite number, such as 0.5"),
        (["--final_norm=maybe"], "expected true or false"),
        (["--nofinal_norm=true"], "takes no value"),
    ],
)
def test_flags_that_are_none_or_have_no_such_value(words, said):
    with pytest.raises(RunError, match=said):
        parse(*words)


def test_words_behind_dashes_are_for_programs_that_take_them():
    found, rest = parse("--limit=3", "--", "--limit=4", "x", own_words=True)
    assert (found["limit"], rest) == (3, ["--limit=4", "x"])
    with pytest.raises(RunError, match=r"'x' after .*words for the experiment come"):
        parse("--limit=3", "x", "--", "--y", own_words=True)
    with pytest.raises(RunError, match="'x'"):
        parse("--limit=3", "--", "x")


def test_a_file_of_flags_gives_way_to_the_command_line(tmp_path):
    path = tmp_path / "my.flags"
    path.write_bytes(
        b"\xef\xbb\xbf--limit=3\n\n# words\n// too\n  --prompt=two words \n"
    )
    for words in (
        [f"--flagfile={path}", "--limit=4"],
        ["--limit=4", "--flagfile", path],
    ):
        found, _ = parse(*map(str, words))
        assert (found["limit"], found["prompt"]) == (4, "two words")
    path.write_text("--limit=3\n--limit=5\n")
    with pytest.raises(RunError, match="given twice"):
        parse(f"--flagfile={path}")
    path.write_text(f"--flagfile={path}\n")
    with pytest.raises(RunError, match=r"my.flags holds --flagfile"):
        parse(f"--flagfile={path}")
    with pytest.raises(RunError, match="--flagfile is empty"):
        parse("--flagfile=")
