"""The parts of an index that can be requested: their names, weights and scales.

    scores             every row's cosine, if the index has no clusters
    centroids/I        cosines of the centroids of a block of clusters
    cluster/I          cosines of the rows of a cluster
    texts/I            the digits of one row in a block of rows

All blocks of centroids and all clusters share one plan, one choice of scales and one
flood, so that one message can request any of them; all blocks of texts share another.
They are chosen for the largest weights allowed: columns of norm 1, digits of 2048.
"""

import dataclasses
import math
import re
from collections.abc import Callable

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private import packing
from helix_jax.private.layer import Layer, power_above
from helix_jax.private.packing import Plan
from helix_jax.private.policies import Policy
from helix_jax.private.profiles import Profile
from helix_jax.private.scales import NORM_MARGIN, Scales, choose_scales
from helix_jax.private.search.index import SearchIndex
from helix_jax.private.search.records import LARGEST_DIGIT, to_digits

UPLOADS = {"scores": 1, "centroids": 2, "texts": 1}  # queries per search, or per text
_MARGIN = 1 + 2.0**-10  # above NORM_TOLERANCE


@dataclasses.dataclass(frozen=True)
class Family:
    """Parts that one message may request together.

    Attributes:
      parts: name -> how many there are.
      kernel: (name, number) -> weights [d, k].
      plan: of each.
      scales: of each.
      policy: of each.
      subject: under which the ledger counts answers.
    """

    parts: dict[str, int]
    kernel: Callable[[str, int], np.ndarray]
    plan: Plan
    scales: Scales
    policy: Policy
    subject: bytes

    def layer(self, profile: Profile) -> Layer:
        """The description that all its layers share."""
        bits, error = self.scales.result_bits, power_above(self.scales.error)
        query_bits = self.scales.query_bits
        return Layer(profile, self.plan, bits, query_bits, 1.0, error, self.policy)


def vectors_family(
    index: SearchIndex, profile: Profile, policy: Policy, *, asked: int
) -> Family:
    """The layers of scores: one for all rows, or for each cluster and centroid block.

    Args:
      index: that is searched.
      profile: of the ring.
      policy: of the scores.
      asked: clusters per query, including decoys, for which traffic is minimised.
    """
    layout, width = index.layout, index.vectors.shape[1]
    centroids = layout.centroids
    if centroids is None:
        parts, classes, answers = {"scores": 1}, len(index.vectors), 1
        uploads = UPLOADS["scores"]
    else:
        clusters, classes = len(layout.sizes), layout.block_rows
        parts = {"centroids": -(-clusters // classes), "cluster": clusters}
        answers, uploads = parts["centroids"] + asked, UPLOADS["centroids"]
    plan = _plan(width, classes, profile, uploads=uploads, answers=answers)

    def kernel(part: str, number: int) -> np.ndarray:
        if centroids is None:
            return index.vectors.T
        if part == "cluster":
            found = index.vectors[layout.rows(number)]
        else:
            found = centroids[number * classes : (number + 1) * classes]
        return np.pad(found, ((0, classes - len(found)), (0, 0))).T

    bound = np.broadcast_to(np.float64(_MARGIN / math.sqrt(width)), (width, classes))
    subject = b"search vectors" + index.name
    scales = _scales(bound, plan, profile, policy)
    return Family(parts, kernel, plan, scales, policy, subject)


def texts_family(index: SearchIndex, profile: Profile, *, asked: int) -> Family:
    """The layers of texts, one for each block.

    Args:
      index: that is searched.
      profile: of the ring.
      asked: blocks per message, including decoys, for which traffic is minimised.

    Raises:
      ValueError: the modulus has no room for the digits and their flood.
    """
    layout, size = index.layout, index.records.shape[1]
    width, classes = layout.block_rows, size // 3 * 2
    plan = _plan(width, classes, profile, uploads=UPLOADS["texts"], answers=asked)

    def kernel(_: str, number: int) -> np.ndarray:
        digits = to_digits(np.asarray(index.records[layout.rows(number)]))
        return np.pad(digits, ((0, width - len(digits)), (0, 0)))

    bound = np.broadcast_to(np.float64(LARGEST_DIGIT), (width, classes))
    # The flood, 2 R, is at most a quarter of a digit.
    reach = LARGEST_DIGIT * math.sqrt(width) * (1 + NORM_MARGIN)
    policy = Policy("rounded", math.ceil(math.log2(reach * math.sqrt(3))) + 3)
    scales = _scales(bound, plan, profile, policy)
    if scales.flood_bits + 1 > scales.result_bits - 2:
        raise ValueError(
            f"texts of {size} bytes in blocks of {width} rows need a flood of "
            f"{scales.flood_bits + 2} bits where digits have {scales.result_bits}: "
            "use a smaller block_rows, or shorter texts."
        )
    subject, parts = b"search texts" + index.name, {"texts": len(layout.sizes)}
    return Family(parts, kernel, plan, scales, policy, subject)


def split_part(part: str) -> tuple[str, int]:
    """Split the name of a part into its kind and its number.

    Raises:
      ProtocolError: it is not the name of a part.
    """
    if part == "scores":
        return part, 0
    match = None
    if isinstance(part, str):
        match = re.fullmatch(r"(centroids|cluster|texts)/(0|[1-9]\d{0,6})", part)
    if match is None:
        raise ProtocolError(
            f"search: {str(part)[:40]!r} is no part of an index; parts are scores, "
            "centroids/I, cluster/I and texts/I."
        )
    return match[1], int(match[2])


def _plan(
    width: int, classes: int, profile: Profile, *, uploads: int, answers: int
) -> Plan:
    """The plan with the least traffic for `uploads` queries and `answers` answers."""

    def traffic(plan: Plan) -> int:
        up = plan.tiles * plan.degree * sum(profile.residue_bytes)
        down = packing.traffic_bytes(plan, profile) - up
        return uploads * up + answers * down

    least = -(-width // profile.degree)
    tiles = range(max(1, least), packing.max_tiles(width, profile) + 1)
    plans = [packing.plan_tiles(width, classes, profile, count) for count in tiles]
    return min(plans, key=traffic)


def _scales(bound: np.ndarray, plan: Plan, profile: Profile, policy: Policy) -> Scales:
    return choose_scales(
        bound,
        np.zeros(plan.classes),
        input_norm=1.0,
        plan=plan,
        profile=profile,
        policy=policy,
    )
