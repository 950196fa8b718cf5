"""Random tiny models of every rotary switch, and embedded models, loaded once."""

from functools import cache

import pytest

from helix_jax.models import load_model, load_tokenizer
from tests.generation.conftest import pebble as pebble
from tests.models.conftest import twin as twin


@pytest.fixture(scope="session")
def named():
    """name or folder -> (model, tokenizer)."""

    @cache
    def load(name):
        return load_model(name), load_tokenizer(name)

    return load
