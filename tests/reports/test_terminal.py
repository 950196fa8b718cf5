"""What a person sees of samples on a terminal."""

from helix_jax.reports import Samples
from helix_jax.reports.terminal import MOST_LINES, MOST_SAMPLES, print_tables


def shown(capsys, *items):
    print_tables([Samples("Texts", items)])
    return capsys.readouterr().out


def test_a_text_follows_its_prompt_and_others_have_their_names(capsys):
    item = {"prompt": "Once", "mapped": " upon\na time", "source alone": " more"}
    assert "Once upon\na time\n[source alone]  more\n" in shown(capsys, item)


def test_blank_lines_in_a_row_are_one(capsys):
    item = {"prompt": "Once", "mapped": "\n\n\nx\n \n\ny\n\n", "random": 9 * "\n"}
    assert "Once\n\nx\n \ny\n[random] (9 line breaks)\n" in shown(capsys, item)


def test_long_texts_and_many_samples_are_cut_and_say_so(capsys):
    lines = [str(line) for line in range(MOST_LINES + 1)]
    seen = shown(capsys, *[{"text": "\n".join(lines)}] * (MOST_SAMPLES + 3))
    assert seen.count("\n7\n...\n") == MOST_SAMPLES
    assert f"\n{MOST_LINES}\n" not in seen
    assert "and 3 more in report.json" in seen
    (whole,) = [shown(capsys, {"text": "\n".join(lines[:-1])})]
    assert "..." not in whole
