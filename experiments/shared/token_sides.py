"""Two models that read the same texts, as the flags name them."""

from experiments.shared.token_options import TokenOptions
from helix_jax.generation.token_sides import TokenSides, load_sides


def load_token_sides(options: TokenOptions) -> TokenSides:
    """Both models of the flags; without a target, the source twice."""
    target = options.target or options.source
    return load_sides(options.source, target, dtype=options.dtype)
