"""Records that grow by batches, killed in the middle of one."""

import pytest

from helix_jax.errors import RunError
from helix_jax.runs import Run
from helix_jax.runs.records import Records


def test_what_was_half_written_is_dropped_with_its_metrics(tmp_path):
    records = Records(Run(tmp_path), "samples.jsonl", 2)
    assert records.resume() == 0
    for first in (0, 2):
        batch = [{"id": first}, {"id": first + 1, "text": "ä\u2028"}]
        records.append(first, batch, {"seconds": 1.5})
    assert records.resume() == 4
    assert [record["id"] for record in records.read()] == [0, 1, 2, 3]
    assert records.read()[3]["text"] == "ä\u2028"
    assert records.total("seconds") == 3.0
    whole = records.path.read_bytes()
    records.path.write_bytes(whole[:-5])  # the last line has no end
    assert records.resume() == 2
    assert [record["id"] for record in records.read()] == [0, 1]
    assert records.total("seconds") == 1.5
    records.append(2, [{"id": 2}, {"id": 3, "text": "ä\u2028"}], {"seconds": 2.0})
    assert records.path.read_bytes() == whole
    assert records.total("seconds") == 3.5


def test_metrics_without_records_do_not_count(tmp_path):
    records = Records(Run(tmp_path), "samples.jsonl", 3)
    records.append(0, [{"id": number} for number in range(3)], {"seconds": 1.0})
    records.append(3, [], {"seconds": 1.0})  # killed between the two
    assert records.resume() == 3
    assert records.total("seconds") == 1.0


def test_a_damaged_file_is_refused(tmp_path):
    records = Records(Run(tmp_path), "samples.jsonl", 1)
    records.path.write_text("{]\n")
    with pytest.raises(RunError, match=r"samples\.jsonl, line 1"):
        records.read()
