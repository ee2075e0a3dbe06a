"""`mergeline setup-github` and `mergeline cloud`, as far as no cloud is needed for it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from repositories import TEMPLATE
from terraform_runs import begin, has_all, shared_folder

from mergeline.cli import main
from mergeline.cloud.asking import Aws
from mergeline.cloud.destroy import empty_registry, is_going
from mergeline.cloud.made import Made
from mergeline.errors import ServiceError
from mergeline.github.settings import PARTS

DESTROY = "mergeline.cloud.destroy"
SOURCES = sorted((TEMPLATE / "src/mergeline/cloud").glob("*.py"))
ROLE = "arn:aws:iam::123456789012:role/mergeline/mergeline-"
OUTPUTS: dict[str, Any] = {
    "name": "mergeline",
    "region": "eu-central-1",
    "repository": "acme/model",
    "subjects": ["acme@12/model@345"],
    "dvc_remote": "s3://mergeline-1-dvc",
    "model_store": "s3://mergeline-1-models",
    "mlflow_artifacts": "s3://mergeline-1-mlflow",
    "prediction_logs": {"production": "s3://mergeline-1-predictions/production"},
    "github_variables": {
        "AWS_REGION": "eu-central-1",
        "AWS_TRAIN_ROLE": f"{ROLE}train",
        "AWS_APPLY_ROLE": f"{ROLE}apply",
        "TERRAFORM_STATE": "mergeline-1-state",
    },
    "push_deployment": {"AWS_DEPLOY_ROLE": f"{ROLE}deploy", "EKS_CLUSTER": "mergeline"},
}
# A repository as `gh` shows it: what is set is remembered, what is not there is GitHub's 404.
GH = (
    f"#!{sys.executable} -IS\n"
    """
import json, pathlib, sys
place = pathlib.Path(__file__).with_name("state.json")
state = json.loads(place.read_text())
words = sys.argv[1:]
state["calls"].append(words)
place.write_text(json.dumps(state))
if words[:2] == ["variable", "list"]:
    print(json.dumps([{"name": name, "value": value} for name, value in state["variables"].items()]))
elif words[:2] == ["variable", "set"]:
    state["variables"][words[2]] = words[-1]
elif words[:2] == ["api", "-X"]:
    method, path = words[2:4]
    name = path.split("/environments/")[1].split("/")[0]
    here = state["environments"].setdefault(name, {"custom": False, "branches": []})
    if path.endswith("/deployment-branch-policies"):
        here["branches"].append(words[-1].removeprefix("name="))
    elif method == "DELETE":
        del here["branches"][int(path.rpartition("/")[2]) - 1]
    else:
        here["custom"] = here["custom"] or len(words) > 4
elif "/environments/" not in words[1]:
    print(json.dumps({"default_branch": state["branch"]}))
else:
    name = words[1].split("/environments/")[1].split("/")[0]
    if name not in state["environments"]:
        sys.exit("gh: Not Found (HTTP 404)")
    here = state["environments"][name]
    listed = [{"name": each, "id": number} for number, each in enumerate(here["branches"], 1)]
    custom = {"deployment_branch_policy": {"custom_branch_policies": True} if here["custom"] else None}
    print(json.dumps({"branch_policies": listed} if words[1].endswith("policies") else custom))
place.write_text(json.dumps(state))
"""
)


@pytest.fixture(scope="module", autouse=True)
def begun(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    """What the tests of terraform/ wait for takes minutes of waiting: it begins here, early in a run."""
    if has_all():
        begin(shared_folder(tmp_path_factory, worker_id))


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps({name: {"value": value} for name, value in OUTPUTS.items()}))
    return path


class Gh:
    """A `gh` on the PATH with a repository of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "gh").write_text(GH)
        (folder / "gh").chmod((folder / "gh").stat().st_mode | stat.S_IXUSR)
        self.write({"branch": "main", "variables": {}, "environments": {}, "calls": []})

    def write(self, state: dict[str, Any]) -> None:
        (self.folder / "state.json").write_text(json.dumps(state))

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        return found

    def changes(self) -> list[list[str]]:
        """The calls that change something."""
        return [each for each in self.state["calls"] if each[1] in ("-X", "set")]


@pytest.fixture
def gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gh:
    made = Gh(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}{os.environ['PATH']}")
    return made


def test_what_would_be_set_is_shown_and_nothing_is_done(
    gh: Gh, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["setup-github", "--outputs", str(outputs)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == "# to have it done: mergeline setup-github --yes"
    assert f"gh variable set AWS_TRAIN_ROLE --repo acme/model --body {ROLE}train" in shown
    assert "gh api -X PUT repos/acme/model/environments/train" in shown
    assert gh.changes() == []


def test_yes_does_what_was_shown_and_the_second_time_nothing_is_left_to_do(
    gh: Gh, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["setup-github", "--outputs", str(outputs)])
    shown = [shlex.split(line)[1:] for line in capsys.readouterr().out.splitlines()[:-1]]
    assert main(["setup-github", "--outputs", str(outputs), "--yes"]) == 0
    assert gh.changes() == shown
    assert gh.state["variables"] == OUTPUTS["github_variables"]
    assert gh.state["environments"] == {
        "train": {"custom": False, "branches": []},  # pull requests train
        "apply": {"custom": True, "branches": ["main"]},  # what is merged is applied
    }
    capsys.readouterr()
    assert main(["setup-github", "--outputs", str(outputs), "--yes"]) == 0
    assert capsys.readouterr().out == "acme/model: all is set\n"
    assert gh.changes() == shown


def test_an_environment_that_other_branches_may_use_is_narrowed_and_a_changed_value_set_again(
    gh: Gh, outputs: Path
) -> None:
    gh.write({
        "branch": "trunk", "calls": [], "variables": OUTPUTS["github_variables"] | {"AWS_REGION": "us-east-1"},
        "environments": {"train": {"custom": False, "branches": []}, "apply": {"custom": True, "branches": ["*"]}},
    })  # fmt: skip
    assert main(["setup-github", "--outputs", str(outputs), "--yes"]) == 0
    assert gh.state["environments"]["apply"] == {"custom": True, "branches": ["trunk"]}
    assert gh.state["variables"] == OUTPUTS["github_variables"]
    assert len(gh.changes()) == 3


def test_what_pushes_a_deployment_is_set_on_request_alone(gh: Gh, outputs: Path) -> None:
    main(["setup-github", "--outputs", str(outputs), "--yes"])
    assert "EKS_CLUSTER" not in gh.state["variables"]
    main(["setup-github", "--outputs", str(outputs), "--yes", "--push-deployment"])
    assert gh.state["variables"]["EKS_CLUSTER"] == "mergeline"
    assert {"staging", "production"} <= gh.state["environments"].keys()


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        pytest.param({"github_variables": {"AWS_TRAIN_ROLE": "nobody"}}, 2, "AWS_TRAIN_ROLE: expected", id="no role"),
        pytest.param({"github_variables": {"OTHER": "a"}}, 2, "OTHER: no variable of the workflows", id="unknown"),
        pytest.param({"repository": "acme"}, 2, "expected OWNER/NAME", id="no repository"),
        pytest.param({"model_store": None}, 2, "expected the outputs of terraform/outputs.tf", id="other outputs"),
    ],
)
def test_bad_outputs_are_one_line_and_set_nothing(
    gh: Gh, outputs: Path, change: dict[str, Any], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs.write_text(json.dumps({name: {"value": value} for name, value in (OUTPUTS | change).items()}))
    assert main(["setup-github", "--outputs", str(outputs), "--yes"]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert gh.changes() == []


def test_gh_that_is_not_there_or_refuses_is_one_line(
    gh: Gh, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (gh.folder / "gh").write_text("#!/bin/sh\necho 'HTTP 403: Resource not accessible' >&2\nexit 1\n")
    assert main(["setup-github", "--outputs", str(outputs)]) == 7
    assert "Resource not accessible" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(outputs.parent))
    assert main(["setup-github", "--outputs", str(outputs)]) == 2
    assert "gh: not installed" in capsys.readouterr().err


def test_the_outputs_name_variables_of_the_workflows_and_no_part_of_aws_is_forgotten() -> None:
    text = (TEMPLATE / "terraform/outputs.tf").read_text()
    named = {line.split("=")[0].strip() for line in text.splitlines() if line.strip()[:1].isupper() and " = " in line}
    settings = {each.name for part in PARTS for each in (*part.own, *part.shared) if not each.secret}
    assert named <= settings
    assert {each for each in settings if each.startswith("AWS_")} <= named


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--name", "mergelin"], "expected the name 'mergeline', found 'mergelin'; nothing was done"),
        ([], "nobody to ask; give --name"),
    ],
)
def test_without_the_name_nothing_is_destroyed(
    outputs: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # whoever is asked refuses
    assert main(["cloud", "destroy", "--outputs", str(outputs), *arguments]) == 2
    assert said in capsys.readouterr().err


# ---- Destroying, again -----------------------------------------------------------------------------------------------

TERRAFORM = (
    f"#!{sys.executable} -IS\n"
    """
import pathlib, sys
here = pathlib.Path(__file__).parent
words = sys.argv[2:]
began = here / "began"
if words[0] == "output":
    print("{}" if began.exists() else (here / "outputs.json").read_text())
elif not began.exists():
    began.touch()  # the outputs go first, and then something is refused
    sys.exit("Error: deleting EKS Cluster: ResourceInUseException")
"""
)


def other_bucket(left: str) -> None:
    """Leave a bucket that is not Terraform's, but bears our name."""
    from botocore.session import Session

    given = {"CreateBucketConfiguration": {"LocationConstraint": "eu-central-1"}}
    Session().create_client("s3", region_name="eu-central-1").create_bucket(Bucket=left, **given)


@pytest.fixture
def half(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A Terraform that fails when it first destroys, an account of AWS, and the command that destroys."""
    from moto import mock_aws

    place = outputs.parent / "terraform"
    (place / "bootstrap").mkdir(parents=True)
    (outputs.parent / "bin").mkdir()
    (outputs.parent / "bin/terraform").write_text(TERRAFORM)
    (outputs.parent / "bin/terraform").chmod(0o755)
    shutil.copy(outputs, outputs.parent / "bin/outputs.json")
    monkeypatch.setenv("PATH", f"{outputs.parent / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield ["--root", str(outputs.parent), "cloud", "destroy", "--name", "mergeline", "--with-state"]


def test_a_destroy_that_failed_half_way_is_run_again_and_ends_without_terraforms_outputs(
    half: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / ".mergeline/destroy.json"
    assert main(half) == 7
    assert "ResourceInUseException" in capsys.readouterr().err
    assert kept.is_file()
    other_bucket("mergeline-123456789012-left")
    assert main(half) == 6  # still something is left, and so it is kept
    assert "bucket mergeline-123456789012-left" in capsys.readouterr().err
    assert kept.is_file()
    from botocore.session import Session

    Session().create_client("s3", region_name="eu-central-1").delete_bucket(Bucket="mergeline-123456789012-left")
    assert main(half) == 0
    assert "left: nothing" in capsys.readouterr().out
    assert not kept.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(None, "expected the outputs of terraform/outputs.tf", id="none"),
        pytest.param('{"name": "mergeline"}', "expected what a destroy kept", id="other"),
    ],
)
def test_the_twin_without_what_was_kept_there_is_nothing_to_go_by(
    half: list[str], tmp_path: Path, text: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(half) == 7
    kept = tmp_path / ".mergeline/destroy.json"
    kept.unlink()
    if text is not None:
        kept.write_text(text)
    capsys.readouterr()
    assert main(half) == 2
    assert said in capsys.readouterr().err


def of_aws(service: str) -> Any:
    """The client of a service of the account."""
    from botocore.session import Session

    return Session().create_client(service, region_name="eu-central-1")


def test_an_instance_that_has_ended_is_not_left_and_one_that_runs_is(
    half: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ec2 = of_aws("ec2")
    ours = [{"ResourceType": "instance", "Tags": [{"Key": "Project", "Value": "mergeline"}]}]
    [made] = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, TagSpecifications=ours)["Instances"]
    assert main(half) == 7
    assert main(half) == 6
    assert f"instance/{made['InstanceId']}" in capsys.readouterr().err
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
    tagged = of_aws("resourcegroupstaggingapi").get_resources(TagFilters=[{"Key": "Project", "Values": ["mergeline"]}])
    assert len(tagged["ResourceTagMappingList"]) == 1  # as AWS does for an hour
    assert main(half) == 0


@pytest.mark.parametrize("kind", ["volume", "natgateway"])
def test_what_ec2_no_longer_knows_is_gone_and_what_it_shows_is_not(half: list[str], kind: str) -> None:
    ec2, aws = of_aws("ec2"), Aws("eu-central-1")
    if kind == "volume":
        named = ec2.create_volume(AvailabilityZone="eu-central-1a", Size=1)["VolumeId"]
    else:
        [subnet, *_] = ec2.describe_subnets()["Subnets"]
        given = {"SubnetId": subnet["SubnetId"], "ConnectivityType": "private"}
        named = ec2.create_nat_gateway(**given)["NatGateway"]["NatGatewayId"]
    arn = f"arn:aws:ec2:eu-central-1:123456789012:{kind}/{named}"
    assert not is_going(arn, aws)
    if kind == "volume":
        ec2.delete_volume(VolumeId=named)
        assert is_going(arn, aws)
    assert is_going(f"arn:aws:ec2:eu-central-1:123456789012:{kind}/{named[:-8]}00000000", aws)


LOGS = ("/mergeline/flow", "/aws/eks/mergeline/cluster", "/aws/sagemaker/Endpoints/mergeline")
LOGS_OF_OTHERS = ["/aws/eks/mergeline-2/cluster", "/aws/sagemaker/Endpoints/mergeline-2", "/mergeline-2/flow"]


def test_groups_of_logs_that_a_service_made_again_are_deleted_and_those_of_others_stay(
    half: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = of_aws("logs")
    for each in (*LOGS, *LOGS_OF_OTHERS):
        logs.create_log_group(logGroupName=each)
    assert main(half) == 7
    with monkeypatch.context() as while_one_is_made_again:
        while_one_is_made_again.setattr(DESTROY + ".forget_logs", lambda *_: None)
        assert main(half) == 6
    said = capsys.readouterr().err
    assert [each for each in (*LOGS, *LOGS_OF_OTHERS) if f"log group {each}" in said] == list(LOGS)
    assert main(half) == 0
    assert sorted(each["logGroupName"] for each in logs.describe_log_groups()["logGroups"]) == LOGS_OF_OTHERS


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov"])
def test_the_boundary_and_the_topic_are_looked_for_in_the_accounts_own_partition(partition: str) -> None:
    made = Made.of({name: {"value": value} for name, value in OUTPUTS.items()}, "here")
    roles = {name: value.replace("arn:aws:", f"arn:{partition}:") for name, value in made.variables.items()}
    assert dataclasses.replace(made, variables=roles).partition == partition
    assert re.findall(r"arn:aws:", "".join(each.read_text() for each in SOURCES)) == []


class Registry:
    """ECR with images, some of which an index names; it deletes as ECR does."""

    def __init__(self, names: dict[str, list[str]], stuck: str = "") -> None:
        self.there = dict(names)
        self.stuck = stuck

    def get_paginator(self, operation: str) -> Registry:
        assert operation == "list_images"
        return self

    def paginate(self, repositoryName: str) -> list[dict[str, Any]]:
        listed = [{"imageDigest": each, "imageTag": tag} for each in self.there for tag in ("one", "two")]
        return [{"imageIds": listed[:3]}, {"imageIds": listed[3:]}]

    def batch_delete_image(self, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:
        assert len(imageIds) <= 100
        held = {name for names in self.there.values() for name in names}
        failures = []
        for each in imageIds:
            digest = each["imageDigest"]
            if digest in held or digest == self.stuck:
                code = "ImageReferencedByManifestList" if digest in held else "KmsError"
                failures.append({"imageId": each, "failureCode": code, "failureReason": f"{code} said"})
            else:
                del self.there[digest]
        return {"failures": failures}


def test_an_index_goes_before_the_images_that_it_names_and_nothing_stays() -> None:
    ecr = Registry({"a": [], "b": [], "index": ["a", "b"], "of indexes": ["index"], **{f"{i}": [] for i in range(150)}})
    empty_registry(ecr, "mergeline/server")
    assert ecr.there == {}


@pytest.mark.parametrize(
    "ecr",
    [
        pytest.param(Registry({"a": [], "b": []}, stuck="a"), id="one that is not deleted"),
        pytest.param(Registry({"a": ["b"], "b": ["a"]}), id="a ring"),
    ],
)
def test_twin_an_image_that_stays_is_said_and_not_asked_for_without_end(ecr: Registry) -> None:
    with pytest.raises(ServiceError, match=r"^mergeline/server: (a|b): .* said; delete that image by hand"):
        empty_registry(ecr, "mergeline/server")


def test_outputs_that_are_no_file_and_a_folder_without_terraform_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cloud", "check", "--outputs", str(tmp_path / "none")]) == 2
    assert "no file of `terraform output -json`" in capsys.readouterr().err
    assert main(["--root", str(tmp_path), "cloud", "check"]) == 2
    assert "run this in a repository of the template" in capsys.readouterr().err
