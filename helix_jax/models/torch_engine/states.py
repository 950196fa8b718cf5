"""Hidden states of a network that torch runs, numbered as `apply_model` does."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helix_jax.models.torch_engine.ending import Ending, run_network
from helix_jax.models.torch_engine.library import torch_library
from helix_jax.models.torch_engine.spec import TorchSpec


class TorchModel(NamedTuple):
    """A model that torch runs; the counterpart of `Model`.

    Attributes:
      spec: its sizes.
      network: the transformers module that reads text, on its device.
      ending: what follows its blocks.
      fingerprint: JSON-able: as for `Model`, and engine: the versions that its states
        depend on.
      folder: where its files are.
    """

    spec: TorchSpec
    network: Any
    ending: Ending
    fingerprint: dict[str, Any]
    folder: Path

    @property
    def platform(self) -> str:
        """Where it runs: "cpu" or "gpu"."""
        return "cpu" if self.network.device.type == "cpu" else "gpu"


def torch_states(
    model: TorchModel,
    tokens: np.ndarray,
    lengths: np.ndarray,
    *,
    layers: Sequence[int],
    final_norm: bool = True,
) -> np.ndarray:
    """Hidden states of a right-padded batch.

    Args:
      model: from `load_torch_model`.
      tokens: [B, T] int32.
      lengths: [B] int32, tokens of each row.
      layers: absolute numbers; 0 is the embedding, i the output of block i.
      final_norm: apply the model's final norm to every layer, or to none.

    Returns:
      [n, B, T, D] float32; values at padding are meaningless.

    Raises:
      ValueError: a layer whose state is not one vector per token, or a text longer than
        the model's context.
    """
    require_vectors(model, layers)
    longest, most = int(lengths.max()), model.spec.max_tokens
    if longest > most:
        raise ValueError(
            f"{model.fingerprint['model']} has a context of {most} tokens, got a text "
            f"of {longest}; truncate it."
        )
    states = np.zeros((len(layers), *tokens.shape, model.spec.width), np.float32)
    # If states would depend on padding, texts of one length are run at a time.
    together = model.ending.padded
    for length in [longest] if together else np.unique(lengths):
        rows = np.flatnonzero(lengths == length) if not together else slice(None)
        mask = np.arange(length) < lengths[rows, None]
        part = tokens[rows, :length]
        states[:, rows, :length] = _run(model, part, mask, layers, final_norm)
    return states


def require_vectors(model: TorchModel, layers: Sequence[int]) -> None:
    """Raise ValueError for a layer whose state is not one vector [D] per token."""
    wrong = [layer for layer in layers if not model.ending.vectors[layer]]
    if wrong:
        right = [layer for layer, own in enumerate(model.ending.vectors) if own]
        raise ValueError(
            f"{model.fingerprint['model']}: the stream of a {model.spec.family} at "
            f"layer {', '.join(map(str, wrong))} is not one vector of "
            f"{model.spec.width} numbers per token; layers that are: "
            f"{', '.join(map(str, right)) or 'none'}."
        )


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch says that a device has no memory left."""
    return type(error).__name__ == "OutOfMemoryError"


def _run(
    model: TorchModel,
    tokens: np.ndarray,
    mask: np.ndarray,
    layers: Sequence[int],
    final_norm: bool,
) -> np.ndarray:
    torch, (network, ending) = torch_library("a model"), (model.network, model.ending)
    inner = any(layer < ending.num_layers for layer in layers)
    tokens, mask = (
        torch.tensor(array, dtype=torch.long, device=network.device)
        for array in (tokens, mask)
    )
    with torch.inference_mode():
        with _reading(ending.follower) as read:
            output = run_network(network, tokens, mask, inner=inner)
        last = read[0][:, : tokens.shape[1]] if read else output.last_hidden_state
        streams = [
            last if layer == ending.num_layers else output.hidden_states[layer]
            for layer in layers
        ]
        if final_norm and ending.norm is not None:
            streams = [ending.norm(stream) for stream in streams]
        return torch.stack([stream.float() for stream in streams]).cpu().numpy()


@contextlib.contextmanager
def _reading(module: Any) -> Iterator[list[Any]]:
    """The first tensor that a module reads in each of its calls inside the context."""
    torch, read = torch_library("a model"), list[Any]()
    if module is None:
        yield read
        return

    def note(_: Any, args: tuple, kwargs: dict) -> None:
        read.append(next(filter(torch.is_tensor, (*args, *kwargs.values()))))

    hook = module.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield read
    finally:
        hook.remove()
