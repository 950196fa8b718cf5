"""Extras: optional packages, and what to say where one is missing.

An import of an optional package goes into `optional_imports()`; programs also explain
imports that fail elsewhere.
"""

import contextlib
import importlib.util
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
    return _remedy(package) if package in EXTRAS else None


def require_packages(*names: str) -> None:
    """Refuse to begin long work that will need a package which is not installed.

    Args:
      *names: of EXTRAS; nothing is imported.

    Raises:
      ExtraError: says what to install.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ExtraError(_remedy(name))


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


def _remedy(package: str) -> str:
    extras = EXTRAS[package]
    made = ", or run `make crypto` in a checkout" if "crypto" in extras else ""
    return (
        f"the package {package} is not installed: pip install 'helix_jax[{extras}]'"
        f"{made}."
    )
