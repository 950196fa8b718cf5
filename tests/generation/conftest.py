"""Models, tokenizers and stitches, loaded once."""

from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax import assets
from helix_jax.alignment import AffineMap
from helix_jax.generation import stitch
from helix_jax.models import load_model, load_tokenizer

from ..models.conftest import twin as twin


@pytest.fixture(scope="session")
def pebble():
    """name -> (model, tokenizer) of an embedded model."""

    @cache
    def load(name):
        folder = str(assets.model_path(f"pebble-{name}"))
        return load_model(folder), load_tokenizer(folder)

    return load


@pytest.fixture(scope="session")
def pretrained(shared):
    """name -> (model, tokenizer) of a pretrained model."""

    @cache
    def load(name):
        folder = str(shared / "models" / name)
        return load_model(folder), load_tokenizer(folder)

    return load


def random_map(source, target, seed=0, size=1.0):
    """A map that makes the target say wild things."""
    rng = np.random.default_rng(seed)
    shape = source.spec.width, target.spec.width
    kernel = rng.normal(size=shape).astype(np.float32) * size / shape[0] ** 0.5
    return AffineMap(jnp.asarray(kernel), jnp.zeros(shape[1]))


def wild(source, target, seed=0, **layers):
    return stitch(source, target, random_map(source, target, seed), **layers)
