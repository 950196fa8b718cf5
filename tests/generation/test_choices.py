"""Files of questions: what is understood, and what is refused by its line."""

import json

import pytest

from helix_jax.errors import CorpusError
from helix_jax.generation.choices import Question, answer_questions, read_questions

GOOD = {"question": "q", "choices": ["a", "b", "c"], "answer": 1}


def test_letters_places_marks_and_empty_lines(tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [GOOD, GOOD | {"answer": "C"}, GOOD | {"question": "x\u2028y"}]
    lines = "\r\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    want = [
        Question("q", ("a", "b", "c"), 1),
        Question("q", ("a", "b", "c"), 2),
        Question("x\u2028y", ("a", "b", "c"), 1),
    ]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(lines.encode(encoding))
        assert read_questions(path) == want


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "malformed JSON"),
        ('{"question": "q", "question": "r"}', "stands twice"),
        ("[1]", "needs question, choices and answer"),
        ({"question": "q", "choices": ["a", "b"]}, "needs question, choices"),
        (GOOD | {"answer": "AB"}, "or its letter, A to C, got 'AB'"),
        (GOOD | {"answer": ""}, "got ''"),
        (GOOD | {"answer": "D"}, "0 to 2, or its letter, A to C, got 3"),
        (GOOD | {"answer": 3}, "0 to 2"),
        (GOOD | {"answer": -1}, "got -1"),
        (GOOD | {"answer": 1.7}, r"got 1\.7"),
        (GOOD | {"answer": True}, "got True"),
        (GOOD | {"answer": None}, "got None"),
        (GOOD | {"choices": "abc"}, "must be a list of strings, got 'abc'"),
        (GOOD | {"choices": [1, 2, 3]}, "must be a list of strings"),
        (GOOD | {"choices": ["a"]}, "2 to 10 choices, got 1"),
        (GOOD | {"choices": list("abcdefghijk")}, "2 to 10 choices, got 11"),
        (GOOD | {"choices": ["a", "", "c"]}, "choice 1 is empty"),
        (GOOD | {"choices": ["a", "b", "a"]}, "two choices are the same text: 'a'"),
        (GOOD | {"question": 7}, "question must be a string, got 7"),
    ],
)
def test_a_line_that_is_no_question(tmp_path, row, message):
    path = tmp_path / "questions.jsonl"
    line = row if isinstance(row, str) else json.dumps(row)
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n")
    with pytest.raises(CorpusError, match=f"line 2: .*{message}") as raised:
        read_questions(path)
    assert "\n" not in str(raised.value)


def test_files_that_hold_no_questions(tmp_path):
    path = tmp_path / "questions.jsonl"
    with pytest.raises(CorpusError, match="no such file"):
        read_questions(path)
    with pytest.raises(CorpusError, match="is a folder"):
        read_questions(tmp_path)
    path.write_text("\n\n")
    with pytest.raises(CorpusError, match="has no question"):
        read_questions(path)
    path.write_bytes(b'{"question": "\xe9"}')
    with pytest.raises(CorpusError, match=r"line 1: not UTF-8"):
        read_questions(path)


def test_questions_made_by_hand_are_checked_too():
    with pytest.raises(ValueError, match="question 0: answer must be the place"):
        answer_questions(None, None, None, [Question("q", ("a", "b"), 2)])
