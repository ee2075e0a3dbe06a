"""A server's metrics, read from its page and labelled as a cluster labels them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mergeline.canary.series import Sample
from mergeline.canary.template import HASH_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable

    import aiohttp

TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)


async def read_samples(session: aiohttp.ClientSession, url: str, own_hash: str) -> list[Sample]:
    """Return a server's metrics now, none where it does not answer."""
    import aiohttp

    address = f"{url.rstrip('/')}/metrics"
    try:
        async with session.get(address, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as answer:
            return parse_samples(await answer.text(), own_hash) if answer.status == 200 else []
    except (aiohttp.ClientError, TimeoutError, ValueError) as err:
        logger.debug("canary: %s: %s", address, err)
        return []


def parse_samples(text: str, own_hash: str) -> list[Sample]:
    """Return the samples of a page in Prometheus's text format; raise `ValueError` where it is none.

    >>> parse_samples('ready{a="b"} 1', "stable")[0].value
    1.0
    """
    from prometheus_client.parser import text_string_to_metric_families

    return [
        Sample(sample.name, frozenset({**sample.labels, HASH_LABEL: own_hash}.items()), float(sample.value))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def rows_scored(samples: Iterable[Sample]) -> float:
    """Return how many rows a server's drift of the score is of."""
    found = (each for each in samples if each.name == "mergeline_drift_rows" and ("feature", "score") in each.labels)
    return sum(each.value for each in found)


def model_served(samples: Iterable[Sample]) -> str | None:
    """Return the SHA-256 of the model that a server's champion is, None where it does not say."""
    found = (each for each in samples if each.name == "mergeline_model_info" and ("variant", "champion") in each.labels)
    return next((dict(each.labels).get("sha256") for each in found), None)
