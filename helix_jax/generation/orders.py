"""The messages between host and device about a block of decoding, in few arrays."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.types import Array


class Orders(NamedTuple):
    """The host's orders for a block; they may change without recompilation.

    Attributes:
      rows: [B, 7 + M] int32, a line for each row of what `Order` names.
      block: [3] int32: chosen tokens that a row may have in all; steps of the block, at
        most `most`; 1 if the host has not seen the block before.
    """

    rows: Array
    block: Array


class Order(NamedTuple):
    """The host's orders for one row; for all rows, [B], on the device.

    Attributes:
      active: 0: the row takes no part.
      anew: 1: the orders below hold. 0: it goes on where it stands, if it can.
      keep: source tokens to keep; others are rolled back.
      steps: chosen tokens to keep.
      last: the row's last source token, that of the queue if there is one.
      limit: source tokens that the row may have in all; also if not `anew`.
      queued: how many of the queue.
      queue: [M], source tokens to feed before anything is chosen.
    """

    active: Array | int
    anew: Array | int
    keep: Array | int
    steps: Array | int
    last: Array | int
    limit: Array | int
    queued: Array | int
    queue: Array | Sequence[int]


class Block(NamedTuple):
    """The results of a block, on the host; on the device one array [B, 4 + most] int32.

    Attributes:
      count: [B] int32, target tokens chosen.
      behind: [B] int32, source tokens of the last of them, or of the queue, that the
        next block will feed.
      refused: [B] int32, 1: `anew` could not be followed, since the block that the host
        had not seen took back some of what should be kept; nothing was done.
      open: [B] int32, 1: the next block goes on with the row without the host; 0:
        nothing was fed for the last token.
      tokens: [B, most] int32, the tokens; entries beyond `count` are meaningless.
    """

    count: np.ndarray
    behind: np.ndarray
    refused: np.ndarray
    open: np.ndarray
    tokens: np.ndarray


def pack_orders(
    orders: Sequence[Order], *, total: int, count: int, unseen: bool
) -> Orders:
    """Orders in two arrays, so that little has to cross to the device.

    Args:
      orders: of each row, their queues of one length.
      total, count, unseen: as in `Orders.block`.
    """
    rows = np.array([(*order[:-1], *order.queue) for order in orders], np.int32)
    return Orders(rows, np.array([total, count, unseen], np.int32))


def unpack_rows(orders: Orders) -> Order:
    """The orders for all rows, on the device."""
    columns = len(Order._fields) - 1
    return Order(*orders.rows[:, :columns].T, orders.rows[:, columns:])


def unpack_block(packed: Array) -> Block:
    """The block, when the device is done with it."""
    host = np.asarray(packed)
    return Block(*host[:, :4].T, host[:, 4:])
