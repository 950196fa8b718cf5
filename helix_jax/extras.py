"""Extras: optional packages, and what to say where one is missing.

An import of an optional package goes into `optional_imports()`; programs also explain
imports that fail elsewhere.
"""

import contextlib
from collections.abc import Iterator

from helix_jax.errors import ExtraError

# Package, by the name that is imported -> the extras of pyproject.toml to install.
EXTRAS = {
    "Pyfhel": "crypto",
    "cryptography": "crypto",
    "httptools": "crypto,net",
    "httpx2": "crypto,net",
    "prometheus_client": "crypto,net",
    "starlette": "crypto,net",
    "uvicorn": "crypto,net",
    "uvloop": "crypto,net",
    "matplotlib": "plots",
    "torch": "torch",
    "submitit": "slurm",
    "tensorboardX": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "fpylll": "dev",
    "peft": "dev",
    "sklearn": "dev",
}


def explain_missing(error: BaseException) -> str | None:
    """What to install after a failed import; None if no extra has the package."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    package = (name or "").partition(".")[0]
    extras = EXTRAS.get(package)
    if extras is None:
        return None
    made = ", or run `make crypto` in a checkout" if "crypto" in extras else ""
    return (
        f"the package {package} is not installed: pip install 'helix_jax[{extras}]'"
        f"{made}."
    )


@contextlib.contextmanager
def optional_imports() -> Iterator[None]:
    """Explain imports inside that fail because an extra is not installed.

    Raises:
      ExtraError: says what to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        said = explain_missing(error)
        if said is None:
            raise
        raise ExtraError(said) from error
