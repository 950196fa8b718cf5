"""What parties agree on before a sum: the session's file, its names, their keys."""

import dataclasses
import json

import pytest

from experiments import sum_session
from experiments.sum_session import SumSessionConfig
from helix_jax.errors import HelixError, PathError, ProtocolError, RunError
from helix_jax.net.aggregation import Agreement, read_agreement
from helix_jax.net.aggregation.identity_files import read_identity
from helix_jax.private.signatures import verifying_key
from tests.net.sums import make_parties

PARTIES = make_parties(3)
RECORD = json.loads(PARTIES.agreement.to_json())


def test_a_file_says_all_that_the_session_is_bound_to():
    agreement = PARTIES.agreement
    assert Agreement.from_json(agreement.to_json()) == agreement
    assert agreement.digest == agreement.session.digest.hex()
    changed = {
        "threshold": 2,
        "colluders": 0,
        "identifier": "00" * 16,
        "aggregator": "11" * 32,
        "moments": {**RECORD["moments"], "value_bits": 9},
        "silos": RECORD["silos"][::-1],
    }
    for name, value in changed.items():
        try:
            other = Agreement.from_json(json.dumps({**RECORD, name: value}))
        except ProtocolError:  # nothing would be promised
            assert name == "threshold"
            continue
        assert other.digest != agreement.digest
    names = dataclasses.replace(agreement, names=("a", "b", "c"))
    assert names.digest == agreement.digest  # of the transport alone


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"aggregation": 2}, "expected version 1, got 2"),
        ({"threshold": 3.0}, "threshold needs to be a whole number, got 3.0"),
        ({"silos": RECORD["silos"][:2]}, "needs 3 to 1000 silos, got 2"),
        ({"silos": [{**one, "name": "x"} for one in RECORD["silos"]]}, "different nam"),
        ({"silos": [{**one, "name": "../x"} for one in RECORD["silos"]]}, "letters"),
        ({"aggregator": "xy"}, "lacks a field or holds a wrong one"),
        ({"moments": {}}, "lacks a field or holds a wrong one"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_that_cannot_be_are_refused(change, said):
    with pytest.raises(ProtocolError, match=said):
        Agreement.from_json(json.dumps({**RECORD, **change}))


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"aggregation": 1}', "\0", "9" * 9]
)
def test_what_is_no_agreement_is_refused(tmp_path, text):
    (tmp_path / "sum.json").write_text(text)
    with pytest.raises(ProtocolError, match="lacks a field or holds a wrong one"):
        read_agreement(tmp_path / "sum.json")


def test_parties_make_keys_and_agree(tmp_path, capsys):
    keys = {
        name: sum_session.run(SumSessionConfig(new_identity=str(tmp_path / name)))
        for name in ("north", "south", "east", "aggregator")
    }
    signing, verifying = read_identity(tmp_path / "north")
    assert verifying.hex() == keys["north"] == verifying_key(signing).hex()
    assert signing.hex() not in capsys.readouterr().out
    session = str(tmp_path / "sum.json")
    aggregator = keys.pop("aggregator")
    config = SumSessionConfig(
        session=session,
        aggregator=aggregator,
        silos=tuple(f"{name}={key}" for name, key in keys.items()),
        source_width=3,
        target_width=2,
    )
    digest = sum_session.run(config)
    assert sum_session.run(SumSessionConfig(show=session)) == digest
    assert "north, south, east; 3 must stay" in capsys.readouterr().out
    agreement = read_agreement(session)
    assert agreement.digest == digest
    assert agreement.session.members[0] == verifying
    with pytest.raises(RunError, match="exists and is never overwritten"):
        sum_session.run(config)
    with pytest.raises(RunError, match="never overwritten: whoever has"):
        sum_session.run(SumSessionConfig(new_identity=str(tmp_path / "north")))
    (tmp_path / "north").chmod(0o640)
    with pytest.raises(PathError, match="chmod 600"):
        read_identity(tmp_path / "north")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({}, "give one of --new_identity, --session and --show"),
        ({"session": "s", "show": "s"}, "give one of"),
        ({"session": "s"}, "--session needs --aggregator"),
        ({"session": "s", "silos": ("a=0",)}, "expected a key of 64 hex"),
        ({"session": "s", "silos": (f"a={'0' * 64}",) * 2}, "'a' is given twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_flags_that_do_not_fit_are_refused(tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    if "silos" in flags:
        flags = {"aggregator": "0" * 64, "source_width": 1, "target_width": 1} | flags
    with pytest.raises((HelixError, ValueError), match=said):
        sum_session.run(SumSessionConfig(**flags))
    assert not list(tmp_path.iterdir())
