"""What an operator copies works as it stands: flags, settings, unit, images."""

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from absl import flags

from experiments.list import config_class
from helix_jax.net.metrics import Metrics
from helix_jax.net.server import check_settings
from helix_jax.net.settings_file import make_settings, read_settings
from helix_jax.runs.program import define_program_flags
from tests.conftest import cases

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "deploy.md").read_text()
UNIT = ROOT / "launch" / "helix-provider.service"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()


def commands(text):
    """(program, its flags) of each command line of a text."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if found := re.search(r"-m experiments\.(\w+)(.*)", line.split("  #")[0]):
            yield found[1], re.findall(r" --(\w+)", found[2])


def fields(program):
    """Names of a program's flags, of its own and of all programs."""
    known = flags.FlagValues()
    define_program_flags(known, program=program)
    own = config_class(program)
    return {*own.__dataclass_fields__, *known}


@pytest.mark.parametrize("text", [DOCUMENT, UNIT.read_text()], ids=["document", "unit"])
def test_flags_that_are_told_are_those_of_the_programs(text):
    found = list(commands(text))
    assert found
    for program, names in found:
        assert set(names) <= fields(program), program


def test_flags_of_the_containers_are_those_of_their_programs():
    for service, program in (("provider", "serve"), ("client", "query")):
        assert f'ENTRYPOINT ["python", "-m", "experiments.{program}"]' in DOCKERFILE
        words = COMPOSE["services"][service]["command"]
        names = {word.lstrip("-").partition("=")[0] for word in words}
        assert names <= fields(program) | {"help"}


def test_the_settings_of_the_document_are_read(tmp_path):
    (written,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    (tmp_path / "provider.toml").write_text(written)
    settings = make_settings(read_settings(tmp_path / "provider.toml"))
    check_settings(settings)
    assert settings.heads["trec"].path == str(tmp_path / "probe")
    assert settings.policy_of("alice", "trec") == "label"
    assert settings.limits_of("alice").fits_per_day == 2
    assert settings.limits_of("bob").requests_per_second == 50


def test_the_defaults_that_the_document_tells_are_those_of_the_code():
    settings = make_settings({})
    told = re.search(
        r"\| setting \| default \| \|\n\|---.*?\n(.*?)\n\n", DOCUMENT, re.S
    )
    checked = 0
    for row in told[1].splitlines():
        names, values = (part.strip() for part in row.split("|")[1:3])
        for name, value in zip(names.split(", "), values.split(", "), strict=True):
            name = name.removeprefix("limits.")
            owner = settings if hasattr(settings, name) else settings.limits
            default = getattr(owner, name)
            assert type(default)(value) == default, name
            checked += 1
    assert checked > 12


def test_the_metrics_that_the_document_tells_are_counted():
    counted = set(re.findall(rb"^# HELP (\w+)", Metrics().text(), re.M))
    told = set(re.findall(r"`(helix_[a-z_]+)[`{]", DOCUMENT))
    assert len(told) > 4
    assert {name.encode() for name in told} <= counted


def test_the_unit_is_one_that_systemd_reads(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd here")
    written = UNIT.read_text()
    here = written.replace("/opt/helix_jax/.venv/bin/python", sys.executable)
    (tmp_path / UNIT.name).write_text(here)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / UNIT.name],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def test_containers_have_no_rights_that_they_do_not_need():
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["mem_limit"]
        assert service["pids_limit"]
        assert "environment" not in service  # where secrets would be seen by others
        assert set(service["secrets"]) <= set(COMPOSE["secrets"])
        for mount in service["volumes"]:
            assert isinstance(mount, str) or mount["read_only"] is True
    assert all(list(one) == ["file"] for one in COMPOSE["secrets"].values())
    stages = dict(
        re.findall(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM|\Z)", DOCKERFILE, re.M | re.S)
    )
    assert "\nUSER 10001:10001\n" in stages["installed"]
    for image in ("client", "provider"):
        assert f"\nFROM installed AS {image}\n" in DOCKERFILE
        assert "USER" not in stages[image]
    assert "g++" not in stages["installed"]


def is_sent(path):
    """Whether a path of the repository is part of a build, by .dockerignore."""
    sent = True
    for line in IGNORED:
        pattern = line.removeprefix("!")
        if not line or line.startswith("#"):
            continue
        names = [path, *map(str, Path(path).parents)]
        if pattern.startswith("**/"):
            names, pattern = [path.rpartition("/")[2]], pattern.removeprefix("**/")
        if any(fnmatch.fnmatch(name, pattern) for name in names if name != "."):
            sent = line.startswith("!")
    return sent


@pytest.mark.parametrize(
    "path",
    cases(
        ["secrets/server.key", ".git/config", "alice.token", "helix_jax/a.key"],
        *["state/state.db", "provider/probe/probe.safetensors", ".venv/bin/python"],
    ),
)
def test_no_secret_goes_into_an_image(path):
    assert not is_sent(path)


def test_all_that_an_image_is_made_of_goes_in():
    listed = subprocess.run(
        ["git", "ls-files", "helix_jax", "experiments", "build_tools"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("no repository here")
    needed = ["setup.py", "constraints.txt", "README.md", "pyproject.toml"]
    assert all(map(is_sent, [*listed.stdout.split(), *needed]))
