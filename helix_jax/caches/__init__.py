"""Key-value caches carried from one model to another, which need not read the text.

form        the layout of a cache, and which models have one
states      keys and values as states of tokens, without their position
fit         moments of all layers from one pass, source layers, ridge
residual    the source's own cache and a change of low rank
maps        a map, and the target's cache that it gives
prompts     texts divided for it, and which token stands for which
reading     what each arm has read
measures    how well the target continues from it
prompt_gate whether the cache of one prompt can be trusted, from `prompt_signals`
map_files   maps as artefact folders
"""

from typing import TYPE_CHECKING

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from helix_jax.caches.choices import Choices, make_choices
    from helix_jax.caches.fit import (
        CacheMoments,
        FittedCacheMap,
        LayerChoice,
        choose_layers,
        fit_cache_map,
        read_cache_moments,
    )
    from helix_jax.caches.form import CacheForm, cache_form
    from helix_jax.caches.map_files import load_cache_map, save_cache_map
    from helix_jax.caches.maps import (
        CacheMap,
        LayerMaps,
        identity_map,
        map_cache,
        mean_map,
    )
    from helix_jax.caches.prompts import (
        Prompts,
        PromptShape,
        make_prompts,
        token_places,
    )
    from helix_jax.caches.residual import fit_cache_residual
    from helix_jax.caches.states import (
        CacheStates,
        cache_side,
        cache_states,
        write_states,
    )

__all__ = [
    "CacheForm",
    "CacheMap",
    "CacheMoments",
    "CacheStates",
    "Choices",
    "FittedCacheMap",
    "LayerChoice",
    "LayerMaps",
    "PromptShape",
    "Prompts",
    "cache_form",
    "cache_side",
    "cache_states",
    "choose_layers",
    "fit_cache_map",
    "fit_cache_residual",
    "identity_map",
    "load_cache_map",
    "make_choices",
    "make_prompts",
    "map_cache",
    "mean_map",
    "read_cache_moments",
    "save_cache_map",
    "token_places",
    "write_states",
]
lazy_names(__name__)
