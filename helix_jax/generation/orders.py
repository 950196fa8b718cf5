"""The messages between host and device for a block of decoding, in few arrays."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.types import Array


class Orders(NamedTuple):
    """The host's orders for a block; new values need no recompilation.

    Attributes:
      rows: [B, 7 + M] int32, the fields of `Order` for each row.
      block: [3] int32: tokens that may be chosen for a row in total; steps of the
        block, at most `most`; 1 if the host has not checked the previous block.
    """

    rows: Array
    block: Array


class Order(NamedTuple):
    """The host's orders for one row; on the device for all rows, [B].

    Attributes:
      active: 0: the row has ended.
      anew: 1: the orders below hold. 0: it continues as it is, if it can.
      keep: source tokens to keep; others are rolled back.
      steps: chosen tokens to keep.
      last: the row's last source token, that of the queue included.
      limit: source tokens that the row may have in total; also without `anew`.
      queued: number of tokens in the queue.
      queue: [M], source tokens to feed before a token is chosen.
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
      behind: [B] int32, source tokens of the last choice, or of the queue, that are
        left for the next block to feed.
      refused: [B] int32, 1: the orders could not be carried out, because the block that
        the host had not checked took back tokens that were to be kept; nothing was
        done.
      open: [B] int32, 1: the next block can continue the row without the host; 0:
        nothing was fed for the last token.
      tokens: [B, most] int32, the chosen tokens; entries beyond `count` mean nothing.
    """

    count: np.ndarray  # type: ignore[assignment]  # a tuple has a method of this name
    behind: np.ndarray
    refused: np.ndarray
    open: np.ndarray
    tokens: np.ndarray


def pack_orders(
    orders: Sequence[Order], *, total: int, count: int, unseen: bool
) -> Orders:
    """The orders in two arrays, so that there are few transfers to the device.

    Args:
      orders: of each row, with queues of equal length.
      total, count, unseen: as in `Orders.block`.
    """
    rows = np.array([(*order[:-1], *order.queue) for order in orders], np.int32)
    return Orders(rows, np.array([total, count, unseen], np.int32))


def unpack_rows(orders: Orders) -> Order:
    """The orders for all rows, on the device."""
    columns = len(Order._fields) - 1
    return Order._make((*orders.rows[:, :columns].T, orders.rows[:, columns:]))


def unpack_block(packed: Array) -> Block:
    """The results of a block; waits until the device has them."""
    host = np.asarray(packed)
    return Block._make((*host[:, :4].T, host[:, 4:]))
