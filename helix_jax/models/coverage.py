"""Which model types of transformers each engine runs: writes docs/models.md.

    python -m helix_jax.models.coverage docs/models.md [--try]

The table lists every text model type of the installed transformers. With --try, the
torch engine is tried on each type: a tiny random model of it is made and examined like
a loaded one. Without --try, the results for torch that the file holds are kept.
"""

import argparse
import collections
import contextlib
import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from helix_jax.errors import CheckpointError
from helix_jax.models.families import FAMILIES
from helix_jax.models.tiny_configs import SHALLOW, TINY, tiny_config
from helix_jax.models.torch_engine.ending import find_ending
from helix_jax.models.torch_engine.library import refusing, torch_library, trouble
from helix_jax.models.torch_engine.spec import make_network, spec_of, text_part
from helix_jax.models.torch_engine.states import TorchModel, torch_states
from helix_jax.models.wrappers import WRAPPERS
from helix_jax.transformers_names import transformers_names

HEAD = """# Models

Every text model type of transformers {version}: those with a tokenizer, or with a
class for causal, masked or sequence-to-sequence language models or for text encoders.
Written by `python -m helix_jax.models.coverage docs/models.md`; with `--try` it tries
torch again.

* **jax**: "native" types have a family in `helix_jax/models/families`; "text part"
  types also read images or sounds, and their text part has one. Programs that run
  single blocks or heads (generation, layers, the encrypted head) need one of these.
* **torch** (`--engine=torch`, `pip install 'helix_jax[torch]'`): "yes" was tried with a
  tiny random model: states of every layer, before and after the final norm. Types that
  also read images or sounds run their text part, encoder-decoders their encoder.
  "not tried" (no tiny model could be made, or it did not run) is neither a promise nor
  a refusal: a model is examined when it is loaded, and refused by name if its states
  cannot be identified.

`--engine=auto`, the default, takes jax where it can and torch elsewhere, including for
a setting that a native family does not have, and says why. Neither runs code that comes
with a model. Quantised weights need torch; a GGUF file needs a folder of its own, with
the tokenizer files of the model that it was made from.

Types that jax runs come first, then those that torch runs, those that were not tried,
and those that are refused.

{counts}

| model type | jax | torch |
| :--- | :--- | :--- |
"""
NOT_TRIED = "not tried"
SECONDS = 60  # limit for one type
MOST_PARAMETERS = 100_000_000


def text_types() -> list[str]:
    """The text model types whose hidden states a class of transformers computes."""
    (auto,) = transformers_names("models")
    tables = auto.auto.modeling_auto
    text = {
        *tables.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        *tables.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        *tables.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        *tables.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
        *auto.auto.tokenization_auto.TOKENIZER_MAPPING_NAMES,
    }
    return sorted(text & set(tables.MODEL_MAPPING_NAMES))


def by_jax(kind: str) -> str:
    """What the JAX engine does with a model type."""
    if kind in WRAPPERS:
        return "text part"
    return "native" if kind in FAMILIES else ""


def by_torch(kind: str) -> str:
    """What the torch engine does with a tiny random model of a type, by trying it."""
    said = NOT_TRIED
    for sizes in (TINY, SHALLOW):
        try:
            with _at_most(SECONDS):
                said = _try(kind, sizes)
        except TimeoutError:
            continue
        if not said.startswith(NOT_TRIED):
            break
    return said


def _try(kind: str, sizes: Mapping[str, int]) -> str:
    torch = torch_library(kind)
    torch.manual_seed(0)
    failures: tuple[type[Exception], ...] = (CheckpointError, *trouble())
    try:
        config = tiny_config(kind, sizes)
        with torch.device("meta"):
            network = make_network(config)
        if sum(own.numel() for own in network.parameters()) > MOST_PARAMETERS:
            return NOT_TRIED
        config = tiny_config(kind, sizes)  # again: some classes modify their config
        network = text_part(make_network(config).eval())
    except failures:
        return NOT_TRIED
    try:
        spec = spec_of(network, Path(kind))
    except CheckpointError as error:
        return _refused(error)
    try:
        ending = find_ending(network, spec.width, spec.vocab_size)
        model = TorchModel(spec, network, ending, {"model": kind}, Path(kind))
        with refusing(f"run {kind}"):
            finite = _all_finite(model)
    except CheckpointError as error:
        # A library's refusal may be due to these sizes rather than the type.
        return NOT_TRIED if error.__cause__ else _refused(error)
    if ending.num_layers != spec.num_layers:
        return f"refused: {ending.num_layers} of {spec.num_layers} layers give states"
    if not ending.vectors[-1]:
        return "refused: its streams are not one vector per token"
    if not finite:
        return NOT_TRIED
    notes = ["yes"]
    if not all(ending.vectors):
        notes.append("but not every layer's stream is one vector per token")
    if not ending.padded:
        notes.append("texts of one length at a time")
    return "; ".join(notes)


def _all_finite(model: TorchModel) -> bool:
    """Whether states of the layers that have any are finite, normed and not."""
    tokens = np.full((2, 6), model.spec.vocab_size // 2)
    layers = [layer for layer, own in enumerate(model.ending.vectors) if own]
    lengths = np.array([6, 3])
    return not layers or all(
        np.isfinite(states[:, 0]).all() and np.isfinite(states[:, 1, :3]).all()
        for normed in (True, False)
        for states in [
            torch_states(model, tokens, lengths, layers=layers, final_norm=normed)
        ]
    )


def _refused(error: Exception) -> str:
    return f"refused: {' '.join(str(error).split())}".replace("|", "/")


def coverage_text(torch_says: Mapping[str, str]) -> str:
    """The document, given what the torch engine does with each type."""
    (version,) = transformers_names("__version__")
    rows = {
        kind: (by_jax(kind), torch_says.get(kind, NOT_TRIED)) for kind in text_types()
    }
    ranks = collections.Counter(_rank(*row) for row in rows.values())
    counts = (
        f"Of {len(rows)} types jax runs {ranks[0]}; of the others torch runs "
        f"{ranks[1]}, {ranks[2]} were not tried, and {ranks[3]} are refused."
    )
    ordered = sorted(rows.items(), key=lambda row: (_rank(*row[1]), row[0]))
    lines = [f"| {kind} | {a} | {b} |" for kind, (a, b) in ordered]
    return HEAD.format(version=version, counts=counts) + "\n".join(lines) + "\n"


def _rank(jax: str, torch: str) -> int:
    """Place in the table: run by jax, run by torch, not tried, refused."""
    if jax:
        return 0
    ends = [torch.startswith(word) for word in ("yes", NOT_TRIED, "refused")]
    return 1 + ends.index(True)


def read_trials(text: str) -> dict[str, str]:
    """Type -> what the document says that the torch engine does with it."""
    return dict(re.findall(r"^\| (\S+) \| [^|]* \| ([^|]*?) \|$", text, re.MULTILINE))


@contextlib.contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the body if it takes longer."""

    def end(*_: Any) -> None:
        raise TimeoutError(f"it took longer than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--try", action="store_true", dest="trying")
    given = parser.parse_args()
    if given.trying:
        trials = {}
        for kind in text_types():
            trials[kind] = by_torch(kind)
            print(f"{kind}: {trials[kind]}", flush=True)
    else:
        trials = read_trials(given.file.read_text())
    given.file.write_text(coverage_text(trials))


if __name__ == "__main__":
    main()
