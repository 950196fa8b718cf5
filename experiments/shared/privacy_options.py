"""Flags of differential privacy of a fit's rows."""

import dataclasses

from helix_jax.runs import option


@dataclasses.dataclass(frozen=True)
class PrivacyOptions:
    """Flags of differential privacy."""

    epsilon: float = option(
        0.0, "epsilon of differential privacy of the rows; 0: none", least=0
    )
    delta: float = option(
        1e-5, "delta of the differential privacy, below 1 / rows", above=0, most=0.5
    )
    protect: str = option(
        "targets",
        "what it protects: the target's rows, or pairs with noise also on the source",
        choices=("targets", "pairs"),
    )
    curve: bool = option(
        False, "also measure accuracy and membership at several epsilons, in the clear"
    )
    shadows: int = option(16, "shadow maps of that membership attack", least=2)

    @property
    def private(self) -> bool:
        """Whether the fit has differential privacy."""
        return self.epsilon > 0
