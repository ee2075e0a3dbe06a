"""Mergeline on Airflow: a task a verb, and no stage of its own. What is run, and in which order, stands in dvc.yaml.

Copy this file into the DAGs' folder, and name a clone of the repository, in which `make setup` has run, as
MERGELINE_REPOSITORY. The schedules are yours to change. What comes of a training is a branch: whether it goes on to
staging and production is for its pull request to say.
"""

import os

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain

REPOSITORY = os.environ.get("MERGELINE_REPOSITORY", "/opt/mergeline")
BRANCH = "retrain/airflow"
BASE, REMOTE = "origin/main", f"origin/{BRANCH}"
SKIPPED = 99  # the exit code by which a task, and all that follows it, is skipped and not failed


def shell(name: str, command: str) -> BashOperator:
    """A command in the clone; an exit code that is not 0 fails the task, and with it the run."""
    return BashOperator(task_id=name, bash_command=command, cwd=REPOSITORY, append_env=True)


def verb(name: str, *, well: int = 0) -> BashOperator:
    """A verb of Mergeline; `well` is another exit code that is a good end."""
    return shell(name, f".venv/bin/mergeline {name}" + (f" || test $? -eq {well}" if well else ""))


with DAG("mergeline_train", schedule="@monthly", catchup=False, max_active_runs=1, tags=["mergeline"]):
    chain(
        # while the branch of an earlier run waits for its pull request, nothing is done: it may hold a person's work
        shell("look", f"git fetch --quiet --prune origin; ! git rev-parse --quiet --verify {REMOTE} || exit {SKIPPED}"),
        # of what an earlier run left nothing stays: `pull` takes the rows that the base names from the cache of DVC
        shell("branch", f"git checkout --quiet --force -B {BRANCH} {BASE} && rm -rf data"),
        verb("pull"),
        verb("ingest"),
        shell(
            "commit", f"! git diff --quiet data.dvc || exit {SKIPPED}; git commit --quiet --all -m 'Take in new rows'"
        ),
        verb("repro"),
        verb("record"),
        shell("push", f"git push --quiet origin {BRANCH}"),
    )

with DAG("mergeline_watch", schedule="@daily", catchup=False, max_active_runs=1, tags=["mergeline"]):
    chain([verb("drift", well=5), verb("performance", well=5)], verb("decide"))
