"""The language reference that comes with Python, as stored by pydoc: embedded prose."""

import functools
import hashlib
import platform

from helix_jax.errors import CorpusError
from helix_jax.types import Text

LEAST_WORDS = 8  # shorter paragraphs are headings and grammar


@functools.cache
def read_topics() -> tuple[Text, ...]:
    """Every paragraph of at least LEAST_WORDS words, once; a topic is a document.

    Raises:
      CorpusError: this Python was installed without the topics.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise CorpusError(
            "topics: this Python has no pydoc_data; install its standard library whole."
        ) from error
    texts = {}
    for name, topic in sorted(topics.items()):
        for number, paragraph in enumerate(topic.split("\n\n")):
            text = " ".join(paragraph.split())
            if len(text.split()) >= LEAST_WORDS and text not in texts:
                texts[text] = Text(f"topics/{name}#{number}", text, None)
    return tuple(texts.values())


def topics_origin() -> dict[str, str]:
    """Where the texts come from, for the fingerprint of the corpus."""
    content = "\0".join(text.text for text in read_topics())
    digest = hashlib.sha256(content.encode()).hexdigest()
    return {"python": platform.python_version(), "sha256": digest[:16]}
