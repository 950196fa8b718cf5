"""Which tokenizers belong to which models."""

import pytest

from helix_jax.errors import CheckpointError
from helix_jax.models import check_vocabulary, load_tokenizer

from ..activations.made import make_tokenizer


@pytest.mark.parametrize("vocab_size", [96, 100, 105, 128])
def test_padded_embeddings_pass(vocab_size):
    check_vocabulary(make_tokenizer(96), vocab_size, model="tiny")


@pytest.mark.parametrize("vocab_size", [95, 129, 50000])
def test_other_vocabulary(vocab_size):
    message = rf"has 96 entries .* tiny has {vocab_size}: they do not belong together"
    with pytest.raises(CheckpointError, match=message):
        check_vocabulary(make_tokenizer(96), vocab_size, model="tiny")


def test_added_tokens_may_lie_beyond_the_embedding():
    tokenizer = make_tokenizer(96)
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    check_vocabulary(tokenizer, 96, model="tiny")
    with pytest.raises(CheckpointError, match="has 97 entries"):
        check_vocabulary(tokenizer, 95, model="tiny")


def test_real_models_with_each_others_tokenizers(shared):
    names = {"stories260K": 512, "babyllama-tok105": 105, "babyllama-tok361": 361}
    for name in names:
        tokenizer = load_tokenizer(str(shared / "models" / name))
        for other, size in names.items():
            if name == other:
                check_vocabulary(tokenizer, size, model=other)
                continue
            with pytest.raises(CheckpointError, match="do not belong together"):
                check_vocabulary(tokenizer, size, model=other)


def test_a_folder_without_tokenizer(tmp_path):
    with pytest.raises(CheckpointError, match="has no readable tokenizer"):
        load_tokenizer(str(tmp_path))
