"""The parts of an extraction: a model on its devices, tokenizer, recipe, layout."""

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from tokenizers import Tokenizer

from helix_jax.activations.budget import choose_token_budget
from helix_jax.activations.extraction import DEFAULT, Extraction
from helix_jax.activations.forward import (
    PlacedModel,
    PlacedTorchModel,
    Readout,
    place_model,
)
from helix_jax.activations.layout import choose_layout
from helix_jax.activations.recipe import recipe_of
from helix_jax.activations.states import require_finite_states, window_states
from helix_jax.activations.window_texts import Counts
from helix_jax.activations.windows import TextWindow, deal_windows, read_windows
from helix_jax.activations.writer import DTYPES
from helix_jax.models import Model, check_vocabulary, resolve_layers
from helix_jax.models.torch_engine import TorchModel
from helix_jax.processes import Processes
from helix_jax.text.tokens import private_tokenizer, tokenizer_fingerprint
from helix_jax.types import Text

LOG = logging.getLogger(__name__)


def store_fingerprint(
    model: Model | TorchModel,
    tokenizer: Any,
    wanted: Extraction = DEFAULT,
    *,
    text_fingerprint: Any,
) -> dict[str, Any]:
    """The record that identifies a store, without making it.

    Args: as for `extract`.

    Returns:
      model, revision, dtype, weights; layers (absolute), final_norm, pooling,
      stored_dtype, max_tokens (at most the context), text, tokenizer; engine if it is
      not jax; prompt, modules and modules_weights if there are any.
    """
    recipe = recipe_of(model, wanted)
    return {
        **model.fingerprint,
        "layers": list(resolve_layers(model.spec, wanted.layers)),
        "final_norm": wanted.final_norm,
        "pooling": recipe.pooling,
        "stored_dtype": wanted.dtype,
        "max_tokens": min(recipe.max_tokens, model.spec.max_tokens),
        "text": text_fingerprint,
        "tokenizer": tokenizer_fingerprint(tokenizer),
        **recipe.record,
    }


class Extractor(NamedTuple):
    """The parts of an extraction; made by `make_extractor`.

    Attributes:
      name: of the model.
      placed: the model on its devices, with its readout.
      backend: its tokenizer.
      prompt: put before every text.
      max_tokens: longer texts are truncated.
      fingerprint: of the states, as in a store.
      wanted: the requested extraction.
    """

    name: str
    placed: PlacedModel | PlacedTorchModel
    backend: Tokenizer
    prompt: str
    max_tokens: int
    fingerprint: dict[str, Any]
    wanted: Extraction

    @property
    def shared(self) -> bool:
        """Whether processes share each batch, on a mesh of all their devices."""
        mesh = getattr(self.placed.group, "mesh", None)
        return mesh is not None and mesh.is_multi_process

    def new_layout(self, total: int | None) -> dict[str, Any]:
        """Settings that the bits of the states depend on, see `choose_layout`.

        Raises:
          ValueError: as `choose_token_budget`; "measure" for a shared batch.
        """
        if self.shared and self.wanted.token_budget == "measure":
            raise ValueError(
                "token_budget='measure' uses the clock of one process, and several "
                "share each batch; give a number, or 'auto'."
            )
        budget = choose_token_budget(
            self.wanted.token_budget, self.placed, max_tokens=self.max_tokens
        )
        return choose_layout(
            self.placed.readout,
            self.placed.group,
            max_tokens=self.max_tokens,
            token_budget=budget,
            window=self.wanted.window,
            texts=total,
        )

    def requested(self) -> dict[str, Any]:
        """The part of a layout that the caller has fixed."""
        group = self.placed.group
        asked = {"devices": group.size, "platform": group.platform, "cut": group.cut}
        if isinstance(self.wanted.token_budget, int):
            asked["token_budget"] = self.wanted.token_budget
        if self.wanted.window is not None:
            asked["window_texts"] = self.wanted.window
        return asked

    def windows(
        self,
        texts: Iterable[Text],
        size: int,
        *,
        done: Mapping[int, Counts],
        own: Callable[[int], bool],
        place: str,
    ) -> Iterator[TextWindow]:
        """Windows of the texts, see `read_windows`; `place` is named in messages."""
        if self.prompt:
            texts = (text._replace(text=self.prompt + text.text) for text in texts)
        return read_windows(
            texts,
            self.backend,
            size=size,
            done=done,
            own=own,
            vocab_size=self.placed.readout.spec.vocab_size,
            token_rows=self.placed.readout.token_rows,
            on_empty=self.wanted.on_empty,
            store=place,
        )

    def states(
        self, window: TextWindow, layout: Mapping[str, Any]
    ) -> tuple[np.ndarray, int]:
        """States [n, rows, D] of a window, all finite; and its tokens with padding.

        Raises:
          StoreError: a state is not finite, or the device's memory does not suffice.
        """
        states, cost = window_states(self.placed, window, layout)
        layers = self.placed.readout.layers
        require_finite_states(states, window, layers=layers, model=self.name)
        return states, cost


def own_windows(
    extractors: Sequence[Extractor],
    processes: Processes,
    done: Container[int],
    *,
    each: int = 1,
) -> Callable[[int], bool]:
    """Whether this process computes a window: its share; all if batches are shared.

    Args:
      extractors: of the models that read the same windows.
      done, each: as for `deal_windows`.
    """
    if any(one.shared for one in extractors):
        return deal_windows(done, 0, 1, each=each)
    return deal_windows(done, processes.index, processes.count, each=each)


def keep_step(
    extractors: Sequence[Extractor], processes: Processes, window: int
) -> None:
    """Before a window, check that all processes are alive; if they share batches, wait.

    Between CPUs a collective gives up on a process that is half a minute late.

    Raises:
      ProcessError: one was lost.
    """
    if any(one.shared for one in extractors):
        processes.wait(f"window {window}")
    processes.check()


def make_extractor(
    model: Model | TorchModel,
    tokenizer: Any,
    wanted: Extraction = DEFAULT,
    *,
    text_fingerprint: Any,
    devices: Sequence[jax.Device] | None = None,
) -> Extractor:
    """Prepare the parts of an extraction.

    Args and errors: as for `extract`.
    """
    spec, name = model.spec, model.fingerprint["model"]
    if wanted.dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {list(DTYPES)}, got {wanted.dtype!r}.")
    if wanted.on_empty not in ("error", "skip"):
        raise ValueError(
            f"on_empty must be 'error' or 'skip', got {wanted.on_empty!r}."
        )
    recipe = recipe_of(model, wanted)
    for note in recipe.notes:
        LOG.warning("%s: %s", name, note)
    readout = Readout(
        spec,
        resolve_layers(spec, wanted.layers),
        wanted.final_norm,
        recipe.pooling,
        DTYPES[wanted.dtype],
        recipe.steps,
    )
    max_tokens = min(recipe.max_tokens, spec.max_tokens)
    backend = private_tokenizer(tokenizer, max_tokens=max_tokens)
    check_vocabulary(tokenizer, spec.vocab_size, model=name)
    fingerprint = store_fingerprint(
        model, tokenizer, wanted, text_fingerprint=text_fingerprint
    )
    placed = place_model(model, readout, devices, recipe.weights)
    return Extractor(
        name, placed, backend, recipe.prompt, max_tokens, fingerprint, wanted
    )
