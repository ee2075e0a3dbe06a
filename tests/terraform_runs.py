"""Terraform as a process, on a copy of terraform/ and on AWS at loopback: made once for all tests of a run.

The provider waits for minutes for things that loopback does at once, so everything is begun early, in the background
(`begin`), and read when it is needed (`applied`, `gone`). The cloud is left as it was applied; what is destroyed is a
copy of it, as the process that is the cloud can be forked.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from repositories import TEMPLATE
from tools import tool, unavailable

CONFIGURATION = TEMPLATE / "terraform"
PROVIDER = "registry.terraform.io/hashicorp/aws"
PLACES = ("/opt/*", "/usr/share/terraform/plugins", "/usr/local/share/terraform/plugins", "/srv/*")
REGION = "eu-central-1"
PATIENCE_S = 420.0
SETTINGS = {
    "name": "mergeline",
    "region": REGION,
    "owner": "ml-team",
    "expires": "2030-01-31",
    "github": {"owner": "acme", "owner_id": 12, "repository": "model", "repository_id": 345},
    "cluster": {"admin_role_arns": ["arn:aws:iam::123456789012:role/Admin"]},
    "alarms": {"emails": ["ml-team@example.com"], "monthly_budget_usd": 300},
}
ACCOUNT = "123456789012"
IMAGE = json.dumps({
    "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": f"sha256:{'a' * 64}"},
})  # fmt: skip
LOCAL = 'terraform {\n  backend "local" {}\n}\n'


# ---- One command -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Done:
    """What a command of Terraform came to, and the seconds that it took."""

    code: int
    said: str
    seconds: float


def mirror() -> Path | None:
    """A folder that `terraform providers mirror` made: TERRAFORM_MIRROR, else one at a usual place, else none."""
    if named := os.environ.get("TERRAFORM_MIRROR"):
        return Path(named)
    homes = [Path.home() / ".terraform.d/plugins", *(each for place in PLACES for each in Path("/").glob(place[1:]))]
    return next((each for each in homes if (each / PROVIDER).is_dir()), None)


def environment(home: Path, port: int | None = None) -> dict[str, str]:
    """No account, no settings of this machine but the place of its provider; of AWS nothing but a port of loopback."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "TF_"))}
    home.mkdir(parents=True, exist_ok=True)
    settings = os.environ.get("TF_CLI_CONFIG_FILE", "")
    if not Path(settings).is_file():
        settings = str(home / "terraform.rc")
        here = mirror()
        ways = f'provider_installation {{\n  filesystem_mirror {{\n    path = "{here}"\n  }}\n}}\n' if here else ""
        Path(settings).write_text(f"{ways}disable_checkpoint = true\n")
    own = {
        "HOME": str(home), "TF_CLI_CONFIG_FILE": settings, "TF_IN_AUTOMATION": "1", "TF_INPUT": "0",
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": REGION, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or 9}", "CHECKPOINT_DISABLE": "1",
    }  # fmt: skip
    return kept | own


def run(folder: Path, env: Mapping[str, str], *arguments: str) -> Done:
    """Run Terraform in a folder."""
    began = time.monotonic()
    command = ["terraform", arguments[0], *(["-no-color"] if arguments[0] != "fmt" else []), *arguments[1:]]
    done = subprocess.run(command, cwd=folder, env=dict(env), capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout + done.stderr, round(time.monotonic() - began, 1))


def copy(place: Path, **settings: Any) -> Path:
    """The configuration at another place, with settings and its state in a file."""
    left_out = shutil.ignore_patterns(".terraform", "*.tfstate*", "terraform.tfvars")
    shutil.copytree(CONFIGURATION, place, ignore=left_out)
    write_settings(place, **settings)
    (place / "backend_override.tf").write_text(LOCAL)
    return place


def write_settings(place: Path, **settings: Any) -> None:
    """The settings as a file of variables, which is JSON but for its outermost braces."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in (SETTINGS | settings).items()]
    (place / "terraform.tfvars").write_text("\n".join([*lines, ""]))


# ---- The cloud -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)  # no slots: what is read once is kept
class Cloud:
    """What was applied: the folder with its state, the port, and what each command came to."""

    folder: Path
    port: int
    done: Mapping[str, Done]

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.folder.parent / "home", self.port)

    @functools.cached_property
    def outputs(self) -> dict[str, Any]:
        """The outputs by their names, without what `terraform output` says beside them."""
        return {name: each["value"] for name, each in self.plan["planned_values"]["outputs"].items()}

    @functools.cached_property
    def plan(self) -> dict[str, Any]:
        """The second plan as JSON: nothing is to be changed, and so nothing is unknown."""
        found: dict[str, Any] = json.loads((self.folder / "plan.json").read_text())
        return found

    def client(self, service: str) -> Any:
        """botocore's client of a service of this cloud."""
        return client(service, self.port)

    def planned(self, kind: str) -> dict[str, dict[str, Any]]:
        """The values of all resources of a kind, by their address."""
        found = self.plan["planned_values"]["root_module"]["resources"]
        return {each["address"]: each["values"] for each in found if each["type"] == kind}

    @contextlib.contextmanager
    def forked(self, place: Path) -> Iterator[Cloud]:
        """A copy of this cloud and of its state, to change at will."""
        port, process = fork(self.port)
        try:
            shutil.copytree(self.folder, place, symlinks=True)
            yield Cloud(place, port, self.done)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, 15)


def client(service: str, port: int) -> Any:
    """botocore's client of a service at a port of loopback."""
    from botocore.session import Session

    given = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": REGION}
    return Session().create_client(service, endpoint_url=f"http://127.0.0.1:{port}", **given)


def fork(port: int) -> tuple[int, int]:
    """Ask a cloud for a copy of itself; return the copy's port and process."""
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/fork", data=b"") as answer:
        told = json.loads(answer.read())
    return told["port"], told["process"]


def has_all() -> bool:
    """Whether Terraform and the provider are to be had."""
    return shutil.which("terraform") is not None and (mirror() is not None or _is_configured())


def needed() -> None:
    """Go on where Terraform and the provider are to be had; else the test ends as `unavailable` says."""
    tool("terraform")
    if not has_all():
        unavailable("needs the AWS provider: a folder of `terraform providers mirror` that TERRAFORM_MIRROR names")


def _is_configured() -> bool:
    return Path(os.environ.get("TF_CLI_CONFIG_FILE", "")).is_file()


def shared_folder(factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder that all workers of a run share."""
    return factory.getbasetemp() if worker_id == "master" else factory.getbasetemp().parent


def begin(shared: Path) -> Path:
    """Begin the life of the cloud, once for all workers; return its folder."""
    place = shared / "cloud"
    with FileLock(shared / "cloud.lock"):
        if not place.exists():
            place.mkdir()
            until = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
            with (place / "log").open("wb") as log:
                subprocess.Popen(
                    [sys.executable, __file__, str(place), str(until)], stdout=log, stderr=log, start_new_session=True
                )
    return place


def told(place: Path, name: str) -> dict[str, Done]:
    """Wait for a part of the life of the cloud, and return what its commands came to."""
    ends = time.monotonic() + PATIENCE_S
    while not (place / f"{name}.json").exists():
        assert time.monotonic() < ends, (place / "log").read_text()
        time.sleep(0.2)
    return {key: Done(**each) for key, each in json.loads((place / f"{name}.json").read_text()).items()}


def applied(place: Path) -> Cloud:
    """The cloud, once it is applied."""
    done = told(place, "applied")
    assert {each.code for each in done.values()} == {0}, [each.said for each in done.values() if each.code]
    return Cloud(place / "terraform", int((place / "port").read_text()), done)


# ---- The life of the cloud, a process of its own ---------------------------------------------------------------------


def life(place: Path, until: int) -> None:
    """Start a cloud that ends with the process `until`; make the state's bucket and all else; destroy a copy."""
    started = [sys.executable, str(Path(__file__).with_name("terraform_moto.py")), str(until)]
    cloud = subprocess.Popen(started, stdout=subprocess.PIPE, text=True)
    assert cloud.stdout is not None
    port = int(cloud.stdout.readline())
    (place / "port").write_text(str(port))
    folder, env = copy(place / "terraform"), environment(place / "home", port)
    done: dict[str, Done] = {}
    bucket = subprocess.Popen(
        "terraform init -no-color && terraform apply -no-color -auto-approve",
        shell=True, cwd=folder / "bootstrap", env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    for name, arguments in {
        "init": ("init",),
        "plan": ("plan", "-out=plan"),
        "apply": ("apply", "-parallelism=30", "plan"),
        "again": ("plan", "-out=again", "-detailed-exitcode"),
        "show": ("show", "-json", "again"),
    }.items():
        done[name] = run(folder, env, *arguments)
    (folder / "plan.json").write_text(done["show"].said)
    said, _ = bucket.communicate()
    done["bootstrap"] = Done(bucket.returncode, said, 0.0)
    write(place / "applied.json", done)
    with Cloud(folder, port, done).forked(place / "destroyed/terraform") as other:
        write(place / "gone.json", {"destroy": destroyed(other), "left": Done(0, "\n".join(left(other.port)), 0.0)})


def destroyed(cloud: Cloud) -> Done:
    """Use a cloud, and have the verb destroy all of it."""
    s3 = cloud.client("s3")
    for _ in range(2):
        s3.put_object(Bucket=f"mergeline-{ACCOUNT}-dvc", Key="twice", Body=b"an old version stays")
    s3.put_object(Bucket=f"mergeline-{ACCOUNT}-models", Key="sha256/a", Body=b"a model, locked", IfNoneMatch="*")
    s3.create_multipart_upload(Bucket=f"mergeline-{ACCOUNT}-models", Key="sha256/b")
    cloud.client("ecr").put_image(repositoryName="mergeline/server", imageManifest=IMAGE)
    began = time.monotonic()
    command = [sys.executable, "-m", "mergeline", "--root", str(cloud.folder.parent), "cloud", "destroy"]
    done = subprocess.run(
        [*command, "--name", "mergeline", "--with-state"],
        env=cloud.environment | {"HOME": str(cloud.folder.parent / "home")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout + done.stderr, round(time.monotonic() - began, 1))


def left(port: int) -> list[str]:
    """What bears our name in a cloud, asked of its services one by one; a key that is to be deleted is none."""
    kms, iam, ec2 = client("kms", port), client("iam", port), client("ec2", port)
    keys = [kms.describe_key(KeyId=each["KeyId"])["KeyMetadata"] for each in kms.list_keys()["Keys"]]
    found = [f"key {each['Description']}" for each in keys if each["KeyState"] == "Enabled"]
    found += [f"bucket {each['Name']}" for each in client("s3", port).list_buckets()["Buckets"]]
    found += [f"role {each['RoleName']}" for each in iam.list_roles(PathPrefix="/mergeline/")["Roles"]]
    found += [f"policy {each['PolicyName']}" for each in iam.list_policies(Scope="Local")["Policies"]]
    found += [f"provider {each['Arn']}" for each in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
    found += [f"network {each['VpcId']}" for each in ec2.describe_vpcs()["Vpcs"] if not each["IsDefault"]]
    found += [f"address {each['PublicIp']}" for each in ec2.describe_addresses()["Addresses"]]
    found += [f"cluster {each}" for each in client("eks", port).list_clusters()["clusters"]]
    found += [
        f"images {each['repositoryName']}" for each in client("ecr", port).describe_repositories()["repositories"]
    ]
    found += [f"topic {each['TopicArn']}" for each in client("sns", port).list_topics()["Topics"]]
    found += [f"alarm {each['AlarmName']}" for each in client("cloudwatch", port).describe_alarms()["MetricAlarms"]]
    found += [f"log {each['logGroupName']}" for each in client("logs", port).describe_log_groups()["logGroups"]]
    return found


def write(path: Path, done: Mapping[str, Done]) -> None:
    """Write a part of the life, whole or not at all."""
    text = json.dumps(
        {name: {"code": each.code, "said": each.said, "seconds": each.seconds} for name, each in done.items()}
    )
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


if __name__ == "__main__":
    life(Path(sys.argv[1]), int(sys.argv[2]))
