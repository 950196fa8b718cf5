"""A stitch, or a native model, for EleutherAI's lm-evaluation-harness.

    model = HarnessModel(parts, source_tokenizer, target_tokenizer)
    lm_eval.simple_evaluate(model=model, tasks=["arc_easy"])

Needs the package `lm_eval` (pip install lm-eval), tested with 0.4.13. Likelihoods come
from `likelihood`, which on one tokenizer are the harness's own; texts from `generate`.

Reference: Gao et al., "A framework for few-shot language model evaluation",
  https://github.com/EleutherAI/lm-evaluation-harness.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from lm_eval.api.model import LM

from helix_jax.generation.generate import generate
from helix_jax.generation.likelihood import continuation_nats, rolling_nats
from helix_jax.generation.sampling import Sampling
from helix_jax.generation.stitch import Stitch


class HarnessModel(LM):
    """Answers the harness's requests with a stitch or a native model.

    Attributes:
      parts: the stitch.
      source_tokenizer, target_tokenizer: of its models; the same one for `native`.
      batch: requests at a time.
      seed: of sampled texts.
    """

    def __init__(
        self,
        parts: Stitch,
        source_tokenizer: Any,
        target_tokenizer: Any,
        *,
        batch: int = 32,
        seed: int = 0,
    ):
        super().__init__()
        self.parts = parts
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.batch = batch
        self.seed = seed

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """log p of each continuation after its context, and whether it is greedy."""
        pairs = [request.args for request in requests]
        scores: list[tuple[float, bool]] = []
        for batch in _batches(pairs, self.batch):
            nats, greedy = self._nats(*zip(*batch))
            scores += zip((-nats).tolist(), greedy.tolist())
        return scores

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """log p of each text, every token predicted once."""
        texts = [request.args[0] for request in requests]
        scores: list[float] = []
        for batch in _batches(texts, self.batch):
            nats = rolling_nats(
                self.parts, self.source_tokenizer, self.target_tokenizer, batch
            )
            scores += (-nats).tolist()
        return scores

    def generate_until(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[str]:
        """The text after each context, up to one of the strings `until`."""
        written: list[str] = [""] * len(requests)
        groups: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(repr(sorted(request.args[1].items())), []).append(number)
        for numbers in groups.values():
            settings = _settings(requests[numbers[0]].args[1])
            for batch in _batches(numbers, self.batch):
                texts = generate(
                    self.parts,
                    self.source_tokenizer,
                    self.target_tokenizer,
                    [
                        self._fitting(requests[number].args[0], settings)
                        for number in batch
                    ],
                    key=jax.random.key(self.seed),
                    **settings,
                )
                for number, text in zip(batch, texts):
                    written[number] = text.text
        return written

    def _nats(
        self, contexts: Sequence[str], endings: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        return continuation_nats(
            self.parts, self.source_tokenizer, self.target_tokenizer, contexts, endings
        )

    def _fitting(self, context: str, settings: dict[str, Any]) -> str:
        """The context, shortened at its beginning until it fits."""
        room = self.parts.source.spec.max_tokens - settings["max_new_tokens"]
        while True:  # the rest may take more tokens than it did in the whole
            ids = self.source_tokenizer(context, return_offsets_mapping=True)
            excess = len(ids["input_ids"]) - max(room, 1)
            if excess <= 0:
                return context
            context = context[max(ids["offset_mapping"][excess][1], 1) :]


def _settings(asked: dict[str, Any]) -> dict[str, Any]:
    """The harness's settings as arguments of `generate`."""
    until = asked.get("until") or []
    temperature = float(asked.get("temperature") or 0.0)
    return {
        "max_new_tokens": int(asked.get("max_gen_toks") or 128),
        "stop_strings": [until] if isinstance(until, str) else [u for u in until if u],
        "sampling": Sampling(
            temperature=temperature if asked.get("do_sample") else 0.0,
            top_p=float(asked.get("top_p") or 1.0),
            top_k=int(asked.get("top_k") or 0),
        ),
    }


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
