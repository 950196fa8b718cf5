"""Models that transformers runs with torch: non-native families and packed weights.

torch is imported only when a model needs it, so helix_jax can be installed without it;
pip install 'helix_jax[torch]' adds it.
"""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.models.torch_engine.load import load_torch_model
    from helix_jax.models.torch_engine.spec import TorchSpec, read_torch_spec
    from helix_jax.models.torch_engine.states import (
        TorchModel,
        is_out_of_memory,
        require_vectors,
        torch_states,
    )

__all__ = [
    "TorchModel",
    "TorchSpec",
    "is_out_of_memory",
    "load_torch_model",
    "read_torch_spec",
    "require_vectors",
    "torch_states",
]
lazy_names(__name__)
