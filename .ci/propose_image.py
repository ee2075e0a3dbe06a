"""Push the branch that gives staging another server image; the model and everything else of its release stay.

usage: propose_image.py IMAGE
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from mergeline import base as base_branch
from mergeline.errors import MergelineError
from mergeline.layout import STAGING
from mergeline.release.manifests import format_release
from mergeline.release.proposals import Base, Proposal, propose

BRANCH = "image/staging"
REMOTE = "origin"


def main(arguments: list[str], root: Path = Path()) -> int:
    """Propose the image on the default branch as it is now; twice changes nothing."""
    if len(arguments) != 1:
        print("usage: propose_image.py IMAGE", file=sys.stderr)
        return 2
    (image,) = arguments

    def plan(base: Base) -> Proposal:
        release = replace(base_branch.release(root, base.commit, STAGING), image=image)
        message = f"Give staging the server image {image.rpartition('@')[2][:19]}\n\nImage: {image}"
        return Proposal(BRANCH, {STAGING: format_release(release).encode()}, message)

    try:
        print(propose(root, REMOTE, plan).said)
    except MergelineError as err:
        print(f"propose_image: {err}", file=sys.stderr)
        return err.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
