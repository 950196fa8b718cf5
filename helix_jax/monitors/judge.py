"""An independent model that says whether a text is of a class: a probe of embeddings.

It shares nothing with the models that write: another architecture, other weights, its
own probe on the same labelled texts. Its AUROC on held-out texts is reported beside its
verdicts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from helix_jax.errors import RunError
from helix_jax.generation.text_metrics import embed_texts
from helix_jax.models import Model, load_model, load_tokenizer
from helix_jax.monitors.measures import score_auroc
from helix_jax.probes import Probe, predict_logits, train_probe
from helix_jax.stats import Interval
from helix_jax.text.hashing import document_of
from helix_jax.types import Text


class Judge(NamedTuple):
    """A sentence encoder with a probe.

    Attributes:
      encoder, tokenizer: the sentence encoder.
      probe: on its embeddings, of the rest and the class.
      auroc: on held-out texts.
      max_tokens: longer texts are truncated.
    """

    encoder: Model
    tokenizer: Any
    probe: Probe
    auroc: Interval
    max_tokens: int

    def log_odds(self, texts: Sequence[str]) -> np.ndarray:
        """[N] float64 log-odds of the class, of each text."""
        embedded = embed_texts(
            self.encoder, self.tokenizer, texts, max_tokens=self.max_tokens
        )
        return _log_odds(self.probe, embedded)


def make_judge(
    encoder: str,
    texts: Mapping[str, Sequence[Text]],
    labels: Mapping[str, np.ndarray],
    *,
    max_tokens: int,
    resamples: int,
) -> Judge:
    """Train a judge.

    Args:
      encoder: folder or hub id of a sentence encoder.
      texts: by split: "fit", "select", "test".
      labels: [N] 0 and 1 of each split.
      max_tokens: longer texts are truncated.
      resamples: of the bootstrap over documents.

    Raises:
      RunError: the probe is not to be trusted.
    """
    model, tokenizer = load_model(encoder), load_tokenizer(encoder)
    x = {
        split: embed_texts(
            model, tokenizer, [text.text for text in own], max_tokens=max_tokens
        )
        for split, own in texts.items()
    }
    chosen = train_probe(x["fit"], labels["fit"], x["select"], labels["select"], 2)
    if chosen.failure:
        raise RunError(chosen.failure)
    documents = [document_of(text.id) for text in texts["test"]]
    scores = _log_odds(chosen.probe, x["test"])
    auroc = score_auroc(scores, labels["test"], documents, resamples=resamples)
    return Judge(model, tokenizer, chosen.probe, auroc, max_tokens)


def _log_odds(probe: Probe, embedded: np.ndarray) -> np.ndarray:
    logits = np.asarray(predict_logits(probe, embedded), np.float64)
    return logits[:, 1] - logits[:, 0]
