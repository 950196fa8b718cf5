"""The torch and transformers libraries, imported only when a torch model is needed."""

import contextlib
import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.transformers_names import transformers_names


def trouble() -> tuple[type[Exception], ...]:
    """The exceptions of these libraries for a model they cannot make, load or run."""
    from huggingface_hub.errors import StrictDataclassError

    return (
        StrictDataclassError,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        ImportError,
        RuntimeError,  # NotImplementedError too
        AssertionError,
    )


def has_torch() -> bool:
    """Whether torch is installed; it is not imported."""
    return importlib.util.find_spec("torch") is not None


def torch_library(name: str) -> Any:
    """The torch module; `name`, the model that needs it, is for the message.

    Raises:
      CheckpointError: it is not installed.
    """
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise CheckpointError(
            f"{name} needs the torch engine, which is not installed: pip install "
            "'helix_jax[torch]'."
        ) from error


def versions() -> dict[str, str]:
    """The engine and the versions that its states depend on."""
    torch = torch_library("a model")
    (transformers,) = transformers_names("__version__")
    return {"name": "torch", "torch": torch.__version__, "transformers": transformers}


@contextlib.contextmanager
def refusing(doing: str) -> Iterator[None]:
    """Turn the exceptions of these libraries into a CheckpointError of one line.

    Raises:
      CheckpointError: says what could not be done, and what the library said.
    """
    try:
        yield
    except CheckpointError:
        raise
    except trouble() as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"transformers cannot {doing}: {words[:400]}") from error
