import dataclasses

import numpy as np
import pytest

from helix_jax.activations import length_ladder, plan_batches
from helix_jax.activations.budget import choose_token_budget, measure_token_budget
from helix_jax.activations.forward import Readout, place_model
from helix_jax.activations.layout import (
    CPU_GROWTH,
    block_parameters,
    choose_ladder,
    choose_layout,
    default_token_budget,
    default_window,
)
from helix_jax.models import flatten


@pytest.fixture(scope="module")
def setting(tiny):
    model, _ = tiny
    readout = Readout(model.spec, (2,), True, "mean", np.dtype(np.float32))
    return place_model(model, readout)


def test_measured_budget_is_among_the_fastest(setting):
    budget, speeds = measure_token_budget(
        setting, max_tokens=12, candidates=(16, 64, 512), repeats=2
    )
    assert set(speeds) == {16, 64, 512}
    assert speeds[budget] >= 0.95 * max(speeds.values())
    assert all(speeds[b] < 0.95 * max(speeds.values()) for b in speeds if b < budget)
    assert speeds[512] > speeds[16]  # one row at a time is slow on any machine


def test_automatic_budget_needs_no_clock(setting):
    budgets = {choose_token_budget("auto", setting, max_tokens=12) for _ in range(3)}
    assert budgets == {default_token_budget(setting.readout.spec, "cpu", 12)}
    assert choose_token_budget(100, setting, max_tokens=12) == 100


def test_a_longest_text_always_fits(tiny):
    assert default_token_budget(tiny[0].spec, "cpu", 8192) == 8192


def test_block_parameters(tiny):
    model, _ = tiny
    flat = dict(flatten(model.params))
    kernels = [v for k, v in flat.items() if k.startswith("layers/") and "kernel" in k]
    assert block_parameters(model.spec) == sum(kernel.size for kernel in kernels)


@pytest.mark.parametrize("width", [64, 384, 4096, 65536])
def test_layout_writes_whole_chunks(setting, width):
    spec = dataclasses.replace(setting.readout.spec, width=width)
    readout = setting.readout._replace(spec=spec, layers=(0, 1, 2))
    layout = choose_layout(readout, setting.group, max_tokens=512, token_budget=2048)
    assert layout["window_texts"] % layout["chunk_rows"] == 0
    assert layout["chunk_rows"] * width * 4 <= 8 << 20
    assert layout["window_texts"] * width * 4 * 3 <= 512 << 20


def test_few_texts_are_worth_few_shapes(setting):
    options = {"max_tokens": 512, "token_budget": 2048}
    ladders = [
        choose_layout(setting.readout, setting.group, **options, texts=texts)["ladder"]
        for texts in (None, 10_000_000, 1000)
    ]
    assert ladders[0] == ladders[1] == list(length_ladder(512, growth=CPU_GROWTH))
    assert 2 * len(ladders[2]) <= len(length_ladder(512)) + 2


def test_automatic_settings_of_a_cpu_pad_little(setting):
    # Lengths as of news, in windows of the slowest models: 1.12 observed, 1.21 with
    # rungs a quarter apart and 2,048 tokens a batch.
    lengths = np.random.default_rng(0).gamma(10.0, 5.3, 2048).astype(int) + 1
    spec = setting.readout.spec
    budget = default_token_budget(spec, "cpu", 256)
    ladder = choose_ladder(spec, "cpu", 256, None)
    computed = sum(
        batch.capacity * batch.length
        for start in range(0, len(lengths), 256)
        for batch in plan_batches(
            lengths[start : start + 256], ladder=ladder, token_budget=budget
        )
    )
    assert computed / lengths.sum() < 1.16


def test_slow_models_have_short_windows(tiny):
    large = dataclasses.replace(
        tiny[0].spec, width=4096, ffn_width=16384, num_layers=32
    )
    assert default_window(tiny[0].spec, "cpu") == 4096
    assert default_window(large, "cpu") == 256
    assert default_window(large, "gpu") > 256
