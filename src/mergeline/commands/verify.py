"""The verb `verify`: whether what an environment names is what was reviewed, stored, signed, rendered and served."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from mergeline import git
from mergeline.errors import ConfigurationError, ServiceError, VerificationError
from mergeline.release.chain import Chain, State
from mergeline.report.escape import clean

logger = logging.getLogger(__name__)


def verify(root: Path, environment: str, url: str | None, *, ask_registry: bool, variables: Mapping[str, str]) -> str:
    """Return the links of an environment's release, one a line; raise `VerificationError` with the first broken one.

    Where none is broken and somebody did not answer, or a key cannot be read, that is the error.
    """
    git.refuse_shallow(root)
    commit = git.commit_of(root, "HEAD")
    if commit is None:
        raise ConfigurationError("verify: no commit here; it compares a release with the history of a branch")
    chain = Chain(root, commit, environment, url, ask_registry, variables)
    links = list(chain.links())
    text = "\n".join(f"{each.state:7}  {each.name}: {clean(each.said, 2000)}" for each in links)
    broken = [each for each in links if each.state is State.BROKEN]
    if broken:
        logger.info(text)
        also = f" (and {len(broken) - 1} more, see above)" if broken[1:] else ""
        raise VerificationError(f"verify: {environment}: {broken[0].name}: {clean(broken[0].said, 2000)}{also}")
    unknown = next((each for each in links if each.state is State.UNKNOWN), None)
    if unknown is not None:
        logger.info(text)
        kind = ServiceError if unknown.exit_code == ServiceError.exit_code else ConfigurationError
        raise kind(f"verify: {environment}: {unknown.name}: {clean(unknown.said, 2000)}")
    return text
