"""Windows of tokens: nothing lost, nothing twice, a pure function of the step."""

import numpy as np
import pytest

from helix_jax.training import pack_documents, unpack_windows, window_batch


def test_windows_hold_the_stream():
    documents = [[0, 1, 2, 3], [0, 4, 5], [0, 6, 7, 8, 9]]
    windows = pack_documents(documents, context=4)
    np.testing.assert_array_equal(windows, [[0, 1, 2, 3, 0], [0, 4, 5, 0, 6]])
    np.testing.assert_array_equal(unpack_windows(windows), [0, 1, 2, 3, 0, 4, 5, 0, 6])


@pytest.mark.parametrize("length", [4, 5, 9, 12, 13])
def test_every_token_but_the_first_is_predicted_once_but_for_an_incomplete_window(
    length,
):
    windows = pack_documents([list(range(length))], context=4)
    assert windows[:, 1:].ravel().tolist() == list(range(1, (length - 1) // 4 * 4 + 1))


def test_nothing_gives_no_windows():
    assert pack_documents([], context=4).shape == (0, 5)


def test_an_epoch_sees_each_window_once_and_the_next_in_another_order():
    windows = np.arange(10)[:, None] * np.ones((1, 3), np.int32)
    epochs = [
        np.concatenate(
            [window_batch(windows, step=s, batch=5, seed=1)[:, 0] for s in steps]
        )
        for steps in ((0, 1), (2, 3))
    ]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(10))
    assert list(epochs[0]) != list(epochs[1])


def test_too_few_windows_are_refused():
    with pytest.raises(ValueError, match="at least 4 windows"):
        window_batch(np.zeros((3, 5), np.int32), step=0, batch=4, seed=0)
