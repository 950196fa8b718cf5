"""Tokens: shown once, kept as a hash, ended at once everywhere; names are clients."""

import stat
import subprocess
import sys
import threading
import time

import pytest

from experiments.tokens import TokensConfig, run
from helix_jax.errors import ProtocolError, RunError
from helix_jax.net.identities import Identities
from helix_jax.net.tls import PeerCertificate
from helix_jax.private import Ledger
from helix_jax.private.ledger_file import open_file

DAY = 86400.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


def token_id(token):
    return token.split("_")[1]


def test_a_token_says_whose_it_is(path):
    identities = Identities(path)
    tokens = [identities.issue("Ada of London", DAY) for _ in range(2)]
    assert len({len(token) for token in tokens}) == 1 == len(set(map(len, tokens)))
    for token in tokens:
        found = identities.find(token)
        assert found.name == "Ada of London"
        assert found.token == token_id(token)
        assert 0 < found.until - time.time() <= DAY
    assert [one.id for one in identities.all()] == [token_id(one) for one in tokens]


def test_no_other_text_is_a_token(path):
    identities = Identities(path)
    token, other = identities.issue("ada", DAY), identities.issue("bo", DAY)
    start, own, _ = token.split("_", 2)
    swapped = f"{start}_{own}_{other.split('_', 2)[2]}"
    for place in range(len(token)):
        changed = "A" if token[place] != "A" else "B"
        assert identities.find(token[:place] + changed + token[place + 1 :]) is None
    malformed = ["", token[:-1], token + "A", token + "\n", " " + token, token.upper()]
    for wrong in [*malformed, swapped, token.encode(), None, "é" * 66, "helix_" * 20]:
        assert identities.find(wrong) is None
    assert identities.find(token).name == "ada"


def test_malformed_tokens_are_refused_without_a_look(path):
    identities = Identities(path)
    identities.close()
    path.rename(path.with_name("moved.db"))
    assert identities.find("helix_x_y") is None
    with pytest.raises(ProtocolError, match=r"tokens in .* cannot be used"):
        identities.find(f"helix_{'0' * 16}_{'A' * 43}")


def test_the_file_holds_no_token(path):
    identities = Identities(path)
    token = identities.issue("ada", DAY)
    identities.revoke(token_id(token))
    identities.close()
    content = b"".join(one.read_bytes() for one in path.parent.iterdir())
    assert b"ada" in content
    assert token.split("_", 2)[2].encode() not in content


def test_tokens_end(path, monkeypatch):
    identities, now = Identities(path), time.time()
    token = identities.issue("ada", DAY)
    until = identities.find(token).until
    for clock, holds in ((until - 1, True), (until, False), (now, True)):
        monkeypatch.setattr("time.time", lambda clock=clock: clock)
        assert (identities.find(token) is not None) is holds


def test_a_revocation_holds_at_once_in_every_process(path):
    """One process looks for the token in a loop; this one revokes it."""
    identities = Identities(path)
    token, other = identities.issue("ada", DAY), identities.issue("bo", DAY)
    code = (
        "import sys\n"
        "from helix_jax.net.identities import Identities\n"
        "identities = Identities(sys.argv[1])\n"
        "for line in sys.stdin:\n"
        "    print(identities.find(line.strip()) is not None, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as service:

        def holds(text):
            print(text, file=service.stdin, flush=True)
            return service.stdout.readline().strip() == "True"

        assert holds(token)
        assert holds(other)
        assert identities.revoke(token_id(token)) == 1
        assert not holds(token)
        assert holds(other)
        later = identities.issue("ada", DAY)
        assert holds(later)
        service.stdin.close()
    assert identities.find(token) is None


def test_a_name_is_revoked_with_all_its_tokens(path):
    identities = Identities(path)
    tokens = [identities.issue("ada", DAY) for _ in range(3)]
    other = identities.issue("bo", DAY)
    assert identities.revoke(token_id(tokens[0])) == 1
    assert identities.revoke("ada") == 2
    assert not any(map(identities.find, tokens))
    assert identities.find(other)
    for gone in ("ada", token_id(tokens[0]), "nobody", "0" * 16):
        with pytest.raises(RunError, match="is left to be revoked"):
            identities.revoke(gone)


def test_a_certificate_of_a_revoked_name_holds_if_it_is_newer(path):
    identities, now = Identities(path), time.time()
    old = PeerCertificate("ada", now - 100, now + DAY)
    assert identities.find_certificate(old) == ("ada", "", now + DAY)
    identities.revoke_certificate("ada")
    assert Identities(path).find_certificate(old) is None
    new = old._replace(begins=time.time() + 1)
    assert identities.find_certificate(new).name == "ada"
    assert identities.find_certificate(old._replace(name="bo")).name == "bo"
    assert list(identities.revoked_certificates()) == ["ada"]
    assert identities.find_certificate(new._replace(name="bo", ends=now)) is None


def test_tokens_lie_beside_a_ledger(path):
    ledger = Ledger(path)
    identities = Identities(path)
    token = identities.issue("ada", DAY)
    ledger.charge(b"s", "ada", 5.0, reference=b"r", budget=None)
    assert identities.find(token).name == "ada"
    ledger.close()
    identities.close()
    assert Ledger(path).name == ledger.name
    assert Ledger(path).spent(b"s", "ada") == 5.0
    assert Identities(path).find(token).name == "ada"


def test_a_file_that_was_replaced_is_refused(path, tmp_path):
    identities = Identities(path)
    token = identities.issue("ada", DAY)
    other = Identities(tmp_path / "other.db")
    other.close()
    path.unlink()
    (tmp_path / "other.db").rename(path)
    with pytest.raises(ProtocolError, match="moved or replaced"):
        identities.find(token)


def test_tables_of_another_release_are_refused(path, tmp_path):
    Identities(path).close()
    connection = open_file(path).connection
    connection.execute("UPDATE identities_version SET version = 2")
    connection.close()
    with pytest.raises(ProtocolError, match="tokens of version 2, not 1"):
        Identities(path)
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(ProtocolError, match="cannot be used"):
        Identities(tmp_path / "text")


def test_threads_issue_and_find_at_once(path):
    identities, found = Identities(path), []

    def work(name):
        for _ in range(20):
            token = identities.issue(name, DAY)
            found.append(identities.find(token).name == name)

    threads = [threading.Thread(target=work, args=(f"client {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80
    assert len(identities.all()) == 80


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_tokens_that_cannot_be(path, seconds):
    with pytest.raises(ValueError, match="seconds must be positive"):
        Identities(path).issue("ada", seconds)
    with pytest.raises(RunError, match="printable text"):
        Identities(path).issue("a\nda", DAY)


def test_the_program_issues_lists_and_revokes(tmp_path, capsys):
    state = str(tmp_path / "state")
    run(TokensConfig(state=state, issue="ada", days=1))
    token = capsys.readouterr().out.strip()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    identities = Identities(tmp_path / "state" / "state.db")
    assert identities.find(token).name == "ada"
    run(TokensConfig(state=state, issue="bo", out=str(tmp_path / "token")))
    shown = capsys.readouterr().out
    written = (tmp_path / "token").read_text()
    assert written.strip() not in shown
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert identities.find(written.strip()).name == "bo"
    run(TokensConfig(state=state, revoke="bo"))
    run(TokensConfig(state=state, revoke_certificate="bo"))
    assert identities.find(written.strip()) is None
    capsys.readouterr()
    run(TokensConfig(state=state, list=True))
    shown = capsys.readouterr().out
    assert token_id(token) in shown
    assert "revoked" in shown
    assert "Revoked certificates" in shown
    assert token.split("_", 2)[2] not in shown


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        ({}, "expected one of --issue, --list, --revoke, .* got none"),
        ({"issue": "a", "list": True}, "got --issue and --list"),
        ({"list": True, "out": "x"}, "only --issue writes"),
        ({"issue": "a\nb"}, "printable text"),
        ({"issue": "a", "days": 0.0}, "--days must be above 0"),
        ({"list": True}, "holds no state.db; nothing was issued"),
        ({"revoke": "a"}, "holds no state.db; nothing was issued"),
    ],
)
def test_the_program_refuses_before_anything_is_made(flags, wrong, tmp_path):
    with pytest.raises(RunError, match=wrong):
        run(TokensConfig(state=str(tmp_path / "state"), **flags))
    assert not list(tmp_path.iterdir())


def test_the_program_wants_a_folder_of_its_own(tmp_path):
    with pytest.raises(RunError, match="missing: --state"):
        run(TokensConfig(list=True))
    (tmp_path / "state").mkdir(mode=0o755)
    with pytest.raises(ValueError, match="only its owner may enter: chmod 700"):
        run(TokensConfig(state=str(tmp_path / "state"), issue="ada"))
    (tmp_path / "token").write_text("mine")
    with pytest.raises(RunError, match="is never overwritten"):
        run(
            TokensConfig(
                state=str(tmp_path / "new"), issue="a", out=str(tmp_path / "token")
            )
        )
    assert (tmp_path / "token").read_text() == "mine"


def test_a_token_that_could_not_be_written_is_revoked(tmp_path):
    (tmp_path / "file").touch()
    state = tmp_path / "state"
    with pytest.raises(ValueError, match="cannot be written"):
        run(
            TokensConfig(
                state=str(state), issue="a", out=str(tmp_path / "file" / "token")
            )
        )
    (one,) = Identities(state / "state.db").all()
    assert one.revoked is not None
