"""Out-of-distribution scores of logits."""

from helix_jax.ood.energy import energy_score

__all__ = ["energy_score"]
