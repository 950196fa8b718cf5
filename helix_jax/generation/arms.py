"""The writers that continue the same prompts: a stitch, its controls, both models."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from helix_jax.alignment import StateMap
from helix_jax.generation.generate import Generated, generate
from helix_jax.generation.prompt import Prompt, declared_stops
from helix_jax.generation.stitch import Stitch, native
from helix_jax.models import Model


class Writer(NamedTuple):
    """One writer that continues prompts.

    Attributes:
      parts: a stitch, or a model alone.
      source_tokenizer, target_tokenizer: of its two models.
      stops: further tokens that end a text, ids or spellings.
    """

    parts: Stitch
    source_tokenizer: Any
    target_tokenizer: Any
    stops: Sequence[int | str] = ()

    def write(self, prompts: Sequence[Prompt], **settings: Any) -> list[Generated]:
        """Continue prompts; the settings are those of `generate`."""
        return generate(
            self.parts,
            self.source_tokenizer,
            self.target_tokenizer,
            prompts,
            stop_tokens=self.stops,
            **settings,
        )


def alone(model: Model, tokenizer: Any) -> Writer:
    """A model with its own head and the stops that its folder declares."""
    return Writer(native(model), tokenizer, tokenizer, declared_stops(model.folder))


def arms_of(
    parts: Stitch, source: Writer, target: Writer, controls: Mapping[str, StateMap]
) -> dict[str, Writer]:
    """The writers of a stitch, named "text", of both models alone, and of its controls.

    Args:
      parts: a stitch of the two models.
      source, target: from `alone`.
      controls: name -> a control map between the same layers.
    """
    mapped = target._replace(parts=parts, source_tokenizer=source.source_tokenizer)
    return {
        "text": mapped,
        "native_source": source,
        "native_target": target,
        **{
            name: mapped._replace(parts=dataclasses.replace(parts, map=control))
            for name, control in controls.items()
        },
    }
