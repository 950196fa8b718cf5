"""lm-evaluation-harness on native models and stitches; skipped without the package."""

import numpy as np
import pytest

pytest.importorskip("lm_eval")
import torch
import transformers
from lm_eval.api.instance import Instance

from helix_jax import assets
from helix_jax.generation import native
from helix_jax.generation.generate import generate
from helix_jax.generation.harness import HarnessModel
from helix_jax.models import load_model, load_tokenizer

CASES = [
    ("The function returns", " a new array"),
    ("Parameters of the", " random generator"),
    ("A", " matrix"),
]


@pytest.fixture(scope="module")
def ours():
    folder = str(assets.model_path("pebble-llama"))
    tokenizer = load_tokenizer(folder)
    return HarnessModel(native(load_model(folder)), tokenizer, tokenizer), tokenizer


@pytest.fixture(scope="module")
def theirs():
    folder = str(assets.model_path("pebble-llama"))
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32
    ).eval()


def requests(kind, cases):
    return [
        Instance(request_type=kind, doc={}, arguments=case, idx=number)
        for number, case in enumerate(cases)
    ]


def twin_nats(model, tokenizer, context, ending):
    ids = tokenizer(context + ending)["input_ids"]
    begin = len(tokenizer(context)["input_ids"])
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    picked = [float(logits[i - 1, ids[i]]) for i in range(begin, len(ids))]
    best = [int(logits[i - 1].argmax()) == ids[i] for i in range(begin, len(ids))]
    return sum(picked), all(best)


def test_likelihoods_are_those_of_transformers(ours, theirs):
    model, tokenizer = ours
    found = model.loglikelihood(requests("loglikelihood", CASES))
    for (value, greedy), (context, ending) in zip(found, CASES):
        wanted, best = twin_nats(theirs, tokenizer, context, ending)
        assert value == pytest.approx(wanted, abs=2e-3)
        assert greedy == best


def harness_own(theirs, tokenizer):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=theirs, tokenizer=tokenizer, max_length=256, batch_size=1)


def test_the_harness_itself_scores_the_same(ours, theirs):
    model, tokenizer = ours
    twin = harness_own(theirs, tokenizer)
    cases = [
        *CASES,
        ("", "The array"),
        ("a ", "b"),
        ("see numpy.lin", "alg.norm x"),
        ("word and " * 200, "the values"),
    ]
    asked = requests("loglikelihood", cases)
    found, wanted = model.loglikelihood(asked), twin.loglikelihood(asked)
    for (value, greedy), (twin_value, twin_greedy) in zip(found, wanted):
        assert value == pytest.approx(twin_value, abs=2e-3)
        assert greedy == twin_greedy


@pytest.mark.parametrize("repeat", [1, 30])
def test_a_rolling_text_is_the_harnesss_own(ours, theirs, repeat):
    model, tokenizer = ours
    twin = harness_own(theirs, tokenizer)
    twin.add_bos_token = False  # it would predict that token from itself
    text = "Return the indices of the elements that are non-zero in this array. "
    asked = requests("loglikelihood_rolling", [(text * repeat,)])
    (found,), (wanted,) = (one.loglikelihood_rolling(asked) for one in (model, twin))
    assert found == pytest.approx(wanted, rel=1e-4)


def test_texts_end_at_the_strings_asked_for(ours):
    model, tokenizer = ours
    settings = {"until": ["."], "max_gen_toks": 24, "do_sample": False}
    (found,) = model.generate_until(
        requests("generate_until", [("The function returns", settings)])
    )
    (wanted,) = generate(
        model.parts,
        tokenizer,
        tokenizer,
        ["The function returns"],
        max_new_tokens=24,
        stop_strings=["."],
    )
    assert found == wanted.text
    assert "." not in found


def test_a_context_that_is_too_long_loses_its_beginning(ours):
    model, _ = ours
    settings = {"until": [], "max_gen_toks": 4}
    (found,) = model.generate_until(
        requests("generate_until", [("word and " * 400, settings)])
    )
    assert isinstance(found, str)
    nats = model.loglikelihood(requests("loglikelihood", [("word " * 500, " and")]))
    assert np.isfinite(nats[0][0])


TASK = """
task: tiny_cloze
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - metric: acc
"""


def test_the_harness_itself_scores_a_task(ours, tmp_path):
    import json

    import lm_eval
    from lm_eval.tasks import TaskManager

    rows = [
        {
            "question": "The function returns a new",
            "choices": ["array", "zebra"],
            "answer": 0,
        },
        {
            "question": "The random number",
            "choices": ["zebra", "generator"],
            "answer": 1,
        },
    ]
    file = tmp_path / "cloze.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tiny_cloze.yaml").write_text(TASK.format(file=file))
    found = lm_eval.simple_evaluate(
        model=ours[0],
        tasks=["tiny_cloze"],
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
        bootstrap_iters=0,
    )
    assert found["results"]["tiny_cloze"]["acc,none"] == 1
