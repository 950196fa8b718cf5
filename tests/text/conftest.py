"""The models and texts that the tests of activations use."""

from ..activations.conftest import minilm as minilm
from ..activations.conftest import real as real
from ..activations.conftest import real_texts as real_texts
