"""Flags of a bench, and the names of all benches."""

import dataclasses
from pathlib import Path

from experiments.shared.options import workdir_option
from helix_jax.runs import option

PRESETS = ("local", "pebble", "paper")  # see `claims.benches`


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """Flags of a bench."""

    workdir: str = workdir_option()
    shared: str = option(
        "", "folder with data/, models/, tokenizers/; empty: searched", names="path"
    )
    limit: int = option(
        0, "texts of a corpus to use, chosen by hash; 0: the preset's number", least=0
    )
    max_tokens: int = option(96, "longer texts are truncated", least=1)
    tiny: bool = option(False, "700 texts, 48 tokens, one pair, one seed")

    def shares(self, limit: int) -> dict[str, object]:
        """The flags that all programs of a bench share; `limit` texts by default."""
        limit = self.limit or limit
        return {
            "limit": limit,
            "public_limit": 2 * limit,
            "max_tokens": self.max_tokens,
            "pooling": "mean",  # as in the paper, also for sentence encoders
            "stores": str(Path(self.workdir) / "stores"),
            **({"seeds": 1, "resamples": 200} if self.tiny else {}),
        }
