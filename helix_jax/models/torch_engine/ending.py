"""What a network does after its last block, found by watching one pass.

transformers returns h_0 ... h_{L-1} as they are and, for h_L, whatever its class ends
with: the final norm of h_L, or a projection, or h_L. The module that makes the last
state is identified by its numbers, not by names, so that h_L and the norm can be read
separately.
"""

import inspect
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from helix_jax.errors import CheckpointError
from helix_jax.models.torch_engine.library import refusing, torch_library

PROBE = 5  # tokens of the pass that is watched
# Relative to a state's largest number; padding that is seen changes the first digits.
TOLERANCES = {"float32": 1e-4, "float16": 0.02, "bfloat16": 0.05}


class Ending(NamedTuple):
    """What follows the blocks of a network, and how it may be run.

    Attributes:
      num_layers: L.
      norm: the final norm, a module; None if the stream ends without one.
      follower: the first module that reads h_L; None if h_L itself is returned.
      vectors: for each of h_0 ... h_L, whether it is one vector of width D per token.
      padded: whether padding leaves a text's states unchanged.
    """

    num_layers: int
    norm: Any
    follower: Any
    vectors: tuple[bool, ...]
    padded: bool


class _Call(NamedTuple):
    """One call of a module: the first tensors that it read and returned."""

    module: Any
    read: Any
    made: Any


def run_network(network: Any, tokens: Any, mask: Any, *, inner: bool) -> Any:
    """The network's output for tokens [B, T] and mask [B, T], both torch tensors."""
    takes = inspect.signature(network.forward).parameters
    open_ended = any(one.kind is one.VAR_KEYWORD for one in takes.values())
    given = {"attention_mask": mask, "use_cache": False}
    given = {
        name: value for name, value in given.items() if open_ended or name in takes
    }
    return network(
        input_ids=tokens, output_hidden_states=inner, return_dict=True, **given
    )


def find_ending(network: Any, width: int, vocab_size: int) -> Ending:
    """Watch one pass of a network over a few tokens.

    Args:
      network: a module of transformers that reads text, in evaluation mode.
      width, vocab_size: D and V.

    Raises:
      CheckpointError: it does not run on text alone, or how it makes its last state
        cannot be identified.
    """
    torch, name = torch_library("a model"), type(network).__name__
    # From the middle of the vocabulary, where there are no special tokens.
    ids = [(vocab_size // 2 + step) % vocab_size for step in range(2 * PROBE)]
    tokens = torch.tensor([ids[:PROBE]], device=network.device)
    with refusing(f"run {name} on text alone"):
        output, calls = _watch(network, tokens)
    hidden, last = (
        getattr(output, name, None) for name in ("hidden_states", "last_hidden_state")
    )
    if last is None or not hidden or len(hidden) < 2:
        raise CheckpointError(f"transformers gives no states of the layers of {name}.")
    norm, follower, stream = _after_blocks(calls, last, _in_lists(network), name)
    states = (*hidden[:-1], stream[:, :PROBE])
    vectors = tuple(h.shape == (1, PROBE, width) for h in states)
    padded = _stands_padding(network, ids, last)
    return Ending(len(hidden) - 1, norm, follower, vectors, padded)


def _after_blocks(
    calls: Iterable[_Call], last: Any, inside: set[int], name: str
) -> tuple[Any, Any, Any]:
    """The final norm, the module that reads h_L, and h_L."""
    maker = _maker(calls, last)
    if maker is not None:
        if id(maker.module) in inside:
            return None, None, last
        if _is_norm(maker.module):
            return maker.module, maker.module, maker.read
        before = _maker(calls, maker.read)  # such as opt's projection
        if before is not None and id(before.module) in inside:
            return None, maker.module, maker.read
        if before is not None and _is_norm(before.module):
            return before.module, before.module, before.read
    made = "no module" if maker is None else f"a {type(maker.module).__name__}"
    raise CheckpointError(
        f"{name}: its last state comes from {made}, not from a block or a norm, so "
        "the stream before the final norm cannot be identified; the torch engine does "
        "not run it."
    )


def _watch(network: Any, tokens: Any) -> tuple[Any, list[_Call]]:
    torch, calls = torch_library("a model"), []

    def note(module: Any, args: tuple, kwargs: dict, made: Any) -> None:
        read = next(filter(torch.is_tensor, (*args, *kwargs.values())), None)
        made = made[0] if isinstance(made, (tuple, list)) and made else made
        calls.append(_Call(module, read, made))

    hooks = [
        module.register_forward_hook(note, with_kwargs=True)
        for module in network.modules()
    ]
    try:
        with torch.inference_mode():
            output = run_network(network, tokens, torch.ones_like(tokens), inner=True)
    finally:
        for hook in hooks:
            hook.remove()
    return output, calls


def _maker(calls: Iterable[_Call], state: Any) -> _Call | None:
    """The first call that returned a state: the innermost of nested modules."""
    torch = torch_library("a model")
    for call in calls:
        if not torch.is_tensor(call.made) or call.made.ndim != state.ndim:
            continue
        # Some networks pad texts themselves, and cut the padding off at the end.
        if torch.equal(call.made[:, : state.shape[1]], state):
            return call
    return None


def _in_lists(network: Any) -> set[int]:
    """Ids of the modules in lists: blocks are in one, what follows them is not."""
    lists = torch_library("a model").nn.ModuleList
    return {
        id(inner)
        for module in network.modules()
        if isinstance(module, lists)
        for inner in module.modules()
    }


def _is_norm(module: Any) -> bool:
    return "norm" in type(module).__name__.lower()


def _stands_padding(network: Any, ids: list[int], alone: Any) -> bool:
    """Whether a text in a batch with a longer one has the states that it has alone."""
    torch = torch_library("a model")
    rope = str(getattr(network.config, "rope_parameters", ""))
    if "longrope" in rope or "dynamic" in rope:
        return False  # chooses its frequencies by the longest row of a batch
    tokens = torch.tensor(
        [ids[:PROBE] + ids[PROBE - 1 : PROBE] * PROBE, ids], device=network.device
    )
    mask = torch.ones_like(tokens)
    mask[0, PROBE:] = 0
    try:
        with torch.inference_mode():
            output = run_network(network, tokens, mask, inner=False)
    except (ValueError, RuntimeError, TypeError):
        return False
    beside = output.last_hidden_state[:1, :PROBE]
    if beside.shape != alone.shape:
        return False
    error = (beside.float() - alone.float()).abs().max()
    least = TOLERANCES[str(alone.dtype).removeprefix("torch.")]
    return bool(error <= least * np.maximum(float(alone.abs().max()), 1e-6))
