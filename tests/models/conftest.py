"""Twins made once for the whole run: building and saving one takes half a second."""

import pytest
import torch
import transformers

from helix_jax.models import load_model

from .twins import build_twin

torch.set_num_threads(1)  # tiny models; more threads only wait for each other
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


@pytest.fixture(scope="session")
def twin(tmp_path_factory):
    """name -> (torch model, our model loaded from the folder that it saved)."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("twins") / name
            theirs = build_twin(name)
            theirs.save_pretrained(folder)
            made[name] = theirs, load_model(str(folder))
        return made[name]

    return get
