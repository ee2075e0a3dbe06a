"""What a server is told: the command line first, then the environment, then the defaults; what cannot be is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mergeline.cli import parser
from mergeline.commands.serve import settings_of
from mergeline.errors import ConfigurationError
from mergeline.release.fetch import Wanted
from mergeline.release.manifests import NO_RELEASE, Release, format_release
from mergeline.serve.settings import Settings

ONE, OTHER, RECEIPT = "1" * 64, "2" * 64, "3" * 64


def told(root: Path, *arguments: str, **environment: str) -> Settings:
    """The settings that `mergeline serve` would run with."""
    variables: Mapping[str, str] = {f"MERGELINE_{name.upper()}": value for name, value in environment.items()}
    return settings_of(root, parser().parse_args(["serve", *arguments]), variables)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository whose production serves one model and whose staging another."""
    for name, sha256 in (("production", ONE), ("staging", OTHER)):
        path = tmp_path / "k8s/overlays" / name / "release.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(format_release(Release(sha256, "store", RECEIPT, None)))
    return tmp_path


def test_without_an_option_production_is_served_on_this_machine_alone(root: Path) -> None:
    settings = told(root)
    assert settings.wanted == Wanted(ONE, "store", RECEIPT)
    assert (settings.environment, settings.host, settings.port, settings.workers) == (
        "production",
        "127.0.0.1",
        8080,
        1,
    )
    assert settings.folder == root / ".mergeline/releases" / ONE
    assert (settings.log_url, settings.challenger, settings.api_key_file) == (".mergeline/log", None, None)


def test_a_pod_is_told_by_its_environment(root: Path) -> None:
    settings = told(
        root, model=OTHER, store="s3://models/x", receipt=RECEIPT, folder="/model", log="s3://log/x", port="9000",
        log_share="0.5", wait_seconds="15", key="/keys/public.pem", max_rows="10",
    )  # fmt: skip
    assert settings.wanted == Wanted(OTHER, "s3://models/x", RECEIPT, Path("/keys/public.pem"))
    assert (settings.folder, settings.log_url, settings.port) == (Path("/model"), "s3://log/x", 9000)
    assert (settings.log.sampling_rate, settings.ending.wait_s, settings.limits.max_rows) == (0.5, 15.0, 10)


def test_the_command_line_comes_before_the_environment(root: Path) -> None:
    settings = told(root, "--environment", "staging", "--port", "81", model=ONE, store="elsewhere", port="9000")
    assert (settings.wanted.model_sha256, settings.wanted.store, settings.port) == (OTHER, "store", 81)


def test_a_challenger_is_an_environment_a_file_or_a_model_of_the_same_store(root: Path) -> None:
    release = root / "k8s/overlays/staging/release.yaml"
    for name in ("staging", str(release), OTHER):
        settings = told(root, "--challenger", name, "--share", "0.2")
        assert settings.challenger is not None
        assert (settings.challenger.model_sha256, settings.challenger.store, settings.share) == (OTHER, "store", 0.2)
        assert settings.challenger_folder != settings.folder
    assert told(root, "--challenger", "staging", "--shadow").share is None


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--share", "0.2"], {}, "--share and --shadow need a --challenger"),
        (["--shadow"], {}, "--share and --shadow need a --challenger"),
        (["--challenger", "staging"], {}, "--challenger needs a --share of the requests, or --shadow"),
        (["--model", ONE], {}, "--model needs the --store that holds it"),
        (["--release", "nowhere.yaml"], {}, "nowhere.yaml: no release file that can be read"),
        ([], {"port": "many"}, "MERGELINE_PORT: invalid literal"),
        ([], {"share": "1.5", "challenger": "staging"}, "MERGELINE_SHARE: expected a share from 0 to 1, found 1.5"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str], environment: dict[str, str], said: str, root: Path
) -> None:
    with pytest.raises(ConfigurationError) as err:
        told(root, *arguments, **environment)
    assert str(err.value).startswith(said)
    assert "\n" not in str(err.value)


def test_an_environment_that_holds_a_public_key_asks_for_its_signature_the_other_does_not(root: Path) -> None:
    key = root / "k8s/overlays/production/signing.pub"
    key.write_text("a key")
    assert told(root).wanted.key == key
    assert told(root, "--key", "other.pub").wanted.key == Path("other.pub")
    assert told(root, "--environment", "staging").wanted.key is None


def test_s10_a_challenger_is_signed_as_the_champion_has_to_be(root: Path) -> None:
    key = root / "k8s/overlays/production/signing.pub"
    key.symlink_to(root / "nowhere")  # a key that cannot be read is no way around it either
    for name in ("staging", str(root / "k8s/overlays/staging/release.yaml"), OTHER):
        settings = told(root, "--challenger", name, "--shadow")
        assert settings.challenger is not None
        assert (settings.wanted.key, settings.challenger.key) == (key, key)
    assert told(root, "--release", str(root / "k8s/overlays/production/release.yaml")).wanted.key == key


def test_flags_come_from_the_environment_and_a_link_to_a_service_is_no_port(root: Path) -> None:
    settings = told(root, challenger="staging", shadow="true", access_log="true", port="tcp://10.96.0.12:80")
    assert settings.challenger is not None
    assert (settings.share, settings.access_log, settings.port) == (None, True, 8080)


def test_an_environment_without_a_release_is_not_served_and_the_error_says_what_comes_first(root: Path) -> None:
    (root / "k8s/overlays/production/release.yaml").write_text(format_release(NO_RELEASE))
    with pytest.raises(ConfigurationError, match="no release yet; `mergeline record` releases a promoted model"):
        told(root)


@pytest.mark.parametrize("option", ["--workers=0", "--share=2", "--log-share=-0.1", "--max-rows=none"])
def test_a_number_out_of_its_range_is_refused_where_it_is_written(option: str, root: Path) -> None:
    with pytest.raises(SystemExit) as err:
        told(root, option)
    assert err.value.code == 2
