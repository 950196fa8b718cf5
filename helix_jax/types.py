"""Records and axis letters shared by every package.

Axis letters, used in shapes throughout:

    B batch          T time (tokens)     S key time       N rows
    D width          H query heads       K key/value heads
    L layers         V vocabulary        F feed-forward width
    C classes        P penalties

In the encrypted layer N is the ring degree, q the modulus and P the number of
parties; the files there say so.
"""

from typing import TYPE_CHECKING, NamedTuple

from helix_jax.lazy import lazy_names

if TYPE_CHECKING:
    from jax import Array

__all__ = ["Array", "Text"]
lazy_names(__name__)


class Text(NamedTuple):
    """One text of a corpus.

    Attributes:
      id: unique name. The part before the first '#' is its document; splits and
        bootstrap intervals are by document.
      text: the text itself.
      label: class index, or None where the corpus has no labels.
    """

    id: str
    text: str
    label: int | None = None
