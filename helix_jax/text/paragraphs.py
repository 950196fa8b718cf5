"""Running text cut into texts and documents.

Blank lines end a paragraph. Paragraphs are joined until a text has LEAST_CHARACTERS, so
that speaker names, headings and one-line answers do not become texts of their own. A
line of the form "= Title =" (WikiText) or "<|endoftext|>" begins a new document; if a
file has neither, every DOCUMENT_TEXTS texts are one document, so that neighbouring
paragraphs seldom fall into different splits.
"""

from collections.abc import Iterable, Iterator

LEAST_CHARACTERS = 200
DOCUMENT_TEXTS = 32
END_OF_TEXT = "<|endoftext|>"


def paragraph_texts(lines: Iterable[str]) -> Iterator[tuple[int, int, str]]:
    """Cut lines into texts.

    Args:
      lines: with or without their line ends; blank lines separate paragraphs.

    Yields:
      (document, number within it, text); every word of the input is in one text, in
      order, except end-of-text marks.
    """
    document = number = 0
    text: list[str] = []  # lines of the current text
    size = 0
    gap = False  # a blank line since the last line
    for line in lines:
        line = line.rstrip()
        bare = line.strip()
        if bare == END_OF_TEXT or _is_title(bare):
            if text:
                yield document, number, "\n".join(text)
                number += 1
            if number:
                document, number = document + 1, 0
            text, size, gap = [], 0, False
            if bare == END_OF_TEXT:
                continue
        elif not bare:
            gap = True
            continue
        elif gap and size >= LEAST_CHARACTERS:
            yield document, number, "\n".join(text)
            number += 1
            text, size = [], 0
            if number == DOCUMENT_TEXTS:
                document, number = document + 1, 0
        elif gap and text:
            text.append("")
        gap = False
        text.append(line)
        size += len(bare)
    if text:
        yield document, number, "\n".join(text)


def _is_title(bare: str) -> bool:
    """Whether a line is an article's title, "= Title =", and not a section's."""
    return (
        len(bare) > 4
        and bare.startswith("= ")
        and bare.endswith(" =")
        and not bare.startswith("= =")
    )
