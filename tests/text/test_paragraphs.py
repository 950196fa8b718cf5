from helix_jax.text.paragraphs import DOCUMENT_TEXTS, LEAST_CHARACTERS, paragraph_texts

LONG = "A sentence that goes on for a while, word after word. " * 5


def test_short_paragraphs_join_and_every_word_is_in_one_text():
    lines = ["TITLE", "", "Who?", "", LONG, "second line", "", "", LONG, "", "end"]
    texts = list(paragraph_texts(lines))
    assert [text[:2] for text in texts] == [(0, 0), (0, 1), (0, 2)]
    assert texts[0][2] == f"TITLE\n\nWho?\n\n{LONG.rstrip()}\nsecond line"
    joined = " ".join(text for *_, text in texts).split()
    assert joined == " ".join(lines).split()


def test_line_ends_and_blank_lines_of_spaces_do_not_matter():
    plain = list(paragraph_texts([LONG, "", LONG, "", "end"]))
    other = list(paragraph_texts([f"{LONG}\r\n", " \t\n", f"{LONG}\n", "\n", "end\n"]))
    assert plain == other
    assert len(plain) == 3


def test_documents_are_articles_or_blocks():
    many = [line for _ in range(DOCUMENT_TEXTS + 1) for line in (LONG, "")]
    documents = [document for document, *_ in paragraph_texts(many)]
    assert documents == [0] * DOCUMENT_TEXTS + [1]
    wiki = [" = First = ", "", LONG, "", " = = Part = = ", LONG, "", " = Second = "]
    found = [(document, text[:12]) for document, _, text in paragraph_texts(wiki)]
    assert found == [(0, " = First =\n\n"), (0, " = = Part = "), (1, " = Second =")]
    stories = ["One.", "<|endoftext|>", "<|endoftext|>", "Two.", "<|endoftext|>"]
    assert list(paragraph_texts(stories)) == [(0, 0, "One."), (1, 0, "Two.")]
    assert list(paragraph_texts(["", " "])) == []


def test_real_books_are_cut_into_texts_of_a_useful_length(shared):
    with open(shared / "corpora" / "ml5_bronte.txt", encoding="utf-8") as lines:
        content = lines.read()
    texts = list(paragraph_texts(content.splitlines()))
    assert " ".join(text for *_, text in texts).split() == content.split()
    sizes = sorted(len(text) for *_, text in texts)
    assert sizes[len(sizes) // 100] >= LEAST_CHARACTERS
    assert sizes[len(sizes) // 2] < 1000
