"""The verbs of the cloud as the command line has them: what they take, and what they call."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline.errors import ConfigurationError, VerificationError

if TYPE_CHECKING:
    from mergeline.cloud.asking import Aws
    from mergeline.cloud.made import Made
    from mergeline.cloud.publish import Place
    from mergeline.commands.verb import Verb

NAME, REGION, LOG = "MERGELINE_CLOUD", "AWS_REGION", "MERGELINE_LOG"


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    added = verb("setup-github", _setup, "set in the repository what Terraform made: variables and environments, by gh")
    added.add_argument("--yes", action="store_true", help="do it; without this it is shown")
    text = "also for a workflow that applies the manifests, without Argo CD"
    added.add_argument("--push-deployment", action="store_true", help=text)
    _outputs(added)
    added = verb(
        "cloud", _cloud, "look at what Terraform made (exit code 6: not as it has to be), feed its alarms, destroy it"
    )
    added.add_argument(
        "what", choices=("check", "publish", "destroy"), help="check changes nothing; destroy asks for the name"
    )
    text = f"publish: the prediction log (default: {LOG}, else production's on S3)"
    added.add_argument("--log", metavar="URL", help=text)
    added.add_argument("--hours", type=int, default=1, help="publish: how far back (default: 1)")
    text = f"destroy: instead of being asked for it; publish: instead of asking Terraform (default: {NAME})"
    added.add_argument("--name", help=text)
    text = "destroy: also Terraform's state and its bucket"
    added.add_argument("--with-state", action="store_true", help=text)
    _outputs(added)


def _outputs(added: argparse.ArgumentParser) -> None:
    text = "a file of `terraform output -json` (default: terraform is asked)"
    added.add_argument("--outputs", type=Path, metavar="FILE", help=text)


def _setup(parsed: argparse.Namespace) -> str:
    from mergeline.cloud.made import read_made
    from mergeline.github.setup import gh, setup

    made = read_made(parsed.root, parsed.outputs, os.environ)
    variables = {**made.variables, **(made.pushes if parsed.push_deployment else {})}
    return setup(made.repository, variables, gh(os.environ), yes=parsed.yes)


def _cloud(parsed: argparse.Namespace) -> str:
    from mergeline.cloud.asking import Aws
    from mergeline.cloud.made import read_kept, read_made

    if parsed.what == "publish":
        return _publish(parsed, _place(parsed, os.environ))
    if parsed.what == "check":
        made = read_made(parsed.root, parsed.outputs, os.environ)
        return _check(made, Aws(made.region))
    from mergeline.cloud.destroy import destroy

    made = read_kept(parsed.root, parsed.outputs, os.environ)
    aws = Aws(made.region)
    typed = parsed.name or _asked(made.name)
    return destroy(parsed.root, made, aws, typed, os.environ, with_state=parsed.with_state)


def _check(made: Made, aws: Aws) -> str:
    from mergeline.cloud.check import checked, printed

    findings = checked(made, aws)
    text = printed(made, findings)
    if findings:
        sys.stdout.write(f"{text}\n")  # data, also where the command fails
        names = ", ".join(dict.fromkeys(each.name for each in findings))
        raise VerificationError(f"cloud: not as it has to be: {names}; see above for what mends it")
    return text


def _publish(parsed: argparse.Namespace, place: Place) -> str:
    from mergeline.cloud.asking import Aws
    from mergeline.cloud.publish import figures, publish
    from mergeline.logstore import open_log

    if parsed.hours < 1:
        raise ConfigurationError(f"--hours: expected 1 or more, found {parsed.hours}")
    store = open_log(place.log, parsed.root)
    return publish(place.name, Aws(place.region), figures(store, dt.datetime.now(dt.UTC), parsed.hours))


def _place(parsed: argparse.Namespace, environment: Mapping[str, str]) -> Place:
    """By the settings of a workflow, which has no Terraform, where they name the cloud; else by Terraform's outputs."""
    from mergeline.cloud.made import read_made
    from mergeline.cloud.publish import Place

    name, log = parsed.name or environment.get(NAME), parsed.log or environment.get(LOG)
    if name and parsed.outputs is None:
        region = environment.get(REGION)
        for setting, value in ((REGION, region), (LOG, log)):
            if not value:
                raise ConfigurationError(f"{setting}: expected beside the name {name}, found nothing; set it")
        return Place(name, str(region), str(log))
    made = read_made(parsed.root, parsed.outputs, environment)
    return Place(made.name, made.region, log or made.variables[LOG])


def _asked(name: str) -> str:
    """The name as a person types it."""
    if not sys.stdin.isatty():
        raise ConfigurationError("destroy: nobody to ask; give --name")
    sys.stderr.write(f"All of {name} is destroyed: models, data, logs, the cluster. Type its name to go on: ")
    sys.stderr.flush()
    return sys.stdin.readline()
