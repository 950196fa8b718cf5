"""Answer policies: logits, noisy logits, or the label alone.

logits        x W + b, to the layer's error
rounded:BITS  the same with noise of standard deviation range / 2^BITS, where range
              is the largest result that the layer allows: no more than about BITS
              bits of a logit per answer, whatever the query. (Noise, because true
              rounding is not linear. Noise averages out over repeated queries, so it
              needs a budget.)
label         the class of the largest result, in one more round: results carry uniform
              offsets modulo q, and a garbled circuit finds the class from the results
              as read and the offsets, both cut to LABEL_BITS bits; see docs/labels.md
"""

import math
import re
from typing import NamedTuple

from helix_jax.private.profiles import Profile

NAMES = ("logits", "rounded", "label")
LABEL_BITS = 16
GUARDED = "rounded:12"  # the default of guarded profiles

# Defaults of an encrypted fit:
PRECISION = 12  # bits of a result
PRECISIONS = range(8, 21)  # that a provider may choose
SHARE = 0.25  # of the bits of the rows that the results of a fit may carry


class Policy(NamedTuple):
    """An answer policy.

    Attributes:
      name: one of NAMES.
      bits: from 1 to 30 for "rounded", else 0.
    """

    name: str = "logits"
    bits: int = 0

    @classmethod
    def parse(cls, text: str) -> "Policy":
        """Read a policy from "logits", "label" or "rounded:BITS".

        Raises:
          ValueError: the text is none of these.
        """
        if text in ("logits", "label"):
            return cls(text)
        match = re.fullmatch(r"rounded:(\d{1,2})", text)
        if match and 1 <= int(match[1]) <= 30:
            return cls("rounded", int(match[1]))
        raise ValueError(
            f"an answer policy is 'logits', 'label' or 'rounded:BITS' with BITS from 1 "
            f"to 30, got {text!r}."
        )

    @classmethod
    def of(cls, profile: Profile) -> "Policy":
        """The default policy of a profile."""
        return cls.parse(GUARDED if profile.guarded else "logits")

    def __str__(self) -> str:
        return f"{self.name}:{self.bits}" if self.bits else self.name

    @classmethod
    def from_code(cls, code: int, bits: int) -> "Policy":
        """Read a policy from its two numbers in a message."""
        if code >= len(NAMES):
            raise ValueError(f"there is no answer policy {code}.")
        name = NAMES[code]
        return cls.parse(f"rounded:{bits}" if name == "rounded" else name)

    @property
    def code(self) -> int:
        """Its number in messages."""
        return NAMES.index(self.name)

    @property
    def extra_bits(self) -> float:
        """Bits of room for noise above the results.

        The noise is at most 2 R; R, a power of two, is at most twice what is needed.
        """
        if self.name != "rounded":
            return 0.0
        return math.log2(1 + 4 * math.sqrt(3) / 2**self.bits)

    @property
    def flood_share(self) -> int:
        """The flood may take up to one part in this many of the modulus."""
        return 2 if self.name == "rounded" else 64

    def flood_bits(self, reach: float, result_bits: int) -> int:
        """log2 R of the noise of "rounded": R / sqrt 3 = reach / 2^bits."""
        if self.name != "rounded":
            return 0
        return math.ceil(math.log2(reach * math.sqrt(3))) + result_bits - self.bits
