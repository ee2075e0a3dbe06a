"""What can be switched on at GitHub, by name: the one table that `doctor`, the workflows and docs/github.md share."""

from __future__ import annotations

import re
from dataclasses import dataclass

ROLE = r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}"
ROLE_EXAMPLE = "arn:aws:iam::123456789012:role/NAME"
KEYS_THAT_LAST = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")  # promise S1: none


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable of Actions, or a secret; `form` is what the whole value of a variable looks like."""

    name: str
    example: str
    form: str = r"\S.*"
    secret: bool = False

    def fits(self, value: str) -> bool:
        """Whether a value can be one of this setting."""
        return re.fullmatch(self.form, value.strip(), re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the template that is off until its settings are there.

    `own` are the settings that switch it on, `shared` those that it needs besides. Its jobs run in `environments`,
    which with `on_base_alone` take no other branch than the default one.
    """

    name: str
    gives: str
    own: tuple[Setting, ...]
    shared: tuple[Setting, ...] = ()
    environments: tuple[str, ...] = ()
    on_base_alone: bool = False


def _role(name: str) -> Setting:
    return Setting(f"AWS_{name}_ROLE", ROLE_EXAMPLE, ROLE)


REGION = Setting("AWS_REGION", "eu-central-1", r"[a-z]{2}(-[a-z]+)+-\d")
RELEASE_ROLE = _role("RELEASE")
KEY = Setting("AWS_KMS_KEY", "alias/models", r"(alias/|arn:aws).+|[0-9a-f-]{36}")
IMAGE = Setting("IMAGE_REPOSITORY", "ghcr.io/OWNER/server", r"[^\s:@/]+(:\d+)?/[^\s:@]+")
LOG = Setting("MERGELINE_LOG", "s3://BUCKET/production", r"\S+")
STAGING = Setting("STAGING_URL", "https://HOST", r"https?://.+")
STATE = Setting("TERRAFORM_STATE", "bucket-of-the-state", r"[a-z0-9][a-z0-9.-]{2,62}")
TRACKING = Setting("MLFLOW_TRACKING_URI", "https://HOST", r"https?://.+")
ATTEST = "attesting"  # what a plan may not have
BOT = "bot"
RECORDING = "recording"  # for which other machines have to reach what one made

PARTS = (
    Part(
        RECORDING,
        "results are recorded on their branch, and releases promoted; store and DVC remote reach every job",
        (Setting("MERGELINE_RECORD", "true", "true"),),
    ),
    Part("training", "pull requests train in an AWS role", (_role("TRAIN"),), (REGION,), ("train",)),
    Part("releasing", "releases are verified in an AWS role", (RELEASE_ROLE,), (REGION,), ("release",), True),
    Part("signing", "models and images are signed by a KMS key", (KEY,), (RELEASE_ROLE, REGION)),
    Part(ATTEST, "GitHub attests receipts and images", (Setting("MERGELINE_ATTEST", "true", "true"),)),
    Part("image", "the server's image is built and pushed", (IMAGE,), (), ("image",), True),
    Part("image on ECR", "the image is pushed in an AWS role", (_role("IMAGE"),), (IMAGE, REGION)),
    Part("monitoring", "what production serves is watched by its prediction log", (LOG,), (), ("monitor",), True),
    Part("monitoring on AWS", "the log is read in an AWS role", (_role("MONITOR"),), (LOG, REGION), ("monitor",), True),
    Part(
        "alarms of the cloud",
        "the watch feeds the alarms that Terraform made",
        (Setting("MERGELINE_CLOUD", "NAME", r"[\w-]{1,100}"),),
        (LOG, _role("MONITOR"), REGION),
        ("monitor",),
        True,
    ),
    Part(
        "alerts",
        "a chat is told what the monitors decide",
        (Setting("MERGELINE_WEBHOOK", "webhook.txt", secret=True),),
        (LOG,),
        ("monitor",),
        True,
    ),
    Part("smoke", "staging is asked before production is proposed", (STAGING,), (), ("release",), True),
    Part(
        "smoke key",
        "staging is asked with its API key",
        (Setting("STAGING_API_KEY", "api.key", secret=True),),
        (STAGING,),
        ("release",),
        True,
    ),
    Part(
        "push deployment",
        "a workflow applies the manifests, for a cluster without Argo CD",
        (_role("DEPLOY"), Setting("EKS_CLUSTER", "NAME", r"[\w-]{1,100}")),
        (REGION,),
        ("staging", "production"),
        True,
    ),
    Part(
        BOT,
        "commits of the workflows start checks without a click, as a GitHub App",
        (Setting("MERGELINE_APP_ID", "123456", r"\d+|Iv\S+"), Setting("MERGELINE_APP_KEY", "app.pem", secret=True)),
        (),
        ("bot",),
    ),
    Part("infrastructure", "pull requests show Terraform's plan", (_role("PLAN"),), (STATE, REGION), ("plan",)),
    Part(
        "infrastructure by merging", "what is merged is applied", (_role("APPLY"),), (STATE, REGION), ("apply",), True
    ),
    Part("runner", "training runs on a runner of your own", (Setting("TRAIN_RUNNER", "LABEL", r"[\w.-]+"),)),
    Part(
        "runner of main",
        "jobs of the default branch's code run on a runner of your own, which no pull request reaches",
        (Setting("MAIN_RUNNER", "LABEL", r"[\w.-]+"),),
    ),
    Part("time limit", "training may take other than 60 minutes", (Setting("TRAIN_MINUTES", "240", r"[1-9]\d{0,4}"),)),
    Part(
        "training cluster",
        "long training is a Job of a cluster",
        (
            Setting("TRAIN_CLUSTER", "NAME", r"[\w-]{1,100}"),
            Setting("TRAIN_IMAGE", "ACCOUNT.dkr.ecr.REGION.amazonaws.com/trainer@sha256:DIGEST", r"[^\s@]+@sha256:\S+"),
        ),
        (Setting("AWS_TRAIN_ROLE", ROLE_EXAMPLE, ROLE), REGION, Setting("MERGELINE_RECORD", "true", "true")),
        ("train",),
    ),
    Part("tracking", "runs are logged on an MLflow server", (TRACKING,), (), ("release",), True),
    Part(
        "tracking login",
        "the MLflow server knows the workflows",
        (
            Setting("MLFLOW_TRACKING_USERNAME", "NAME"),
            Setting("MLFLOW_TRACKING_PASSWORD", "password.txt", secret=True),
        ),
        (TRACKING,),
        ("release",),
        True,
    ),
)
