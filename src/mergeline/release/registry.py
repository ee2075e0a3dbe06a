"""What an image registry says of an image by digest, by the OCI distribution specification's API."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from mergeline.errors import ServiceError, VerificationError

TIMEOUT_S = 10.0
LARGEST_MANIFEST_BYTES = 4 << 20  # what the specification asks a registry to take
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
DOCKER_HUB = "registry-1.docker.io"
_ECR = re.compile(r"\d+\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def verify_image(image: str, environment: Mapping[str, str]) -> None:
    """Raise `VerificationError` where the registry does not hold the image, or holds other bytes under its digest.

    `image` is `name@sha256:...`. Asked without a login where the registry lets everybody read, as the AWS account of
    the environment on ECR, else as MERGELINE_REGISTRY_USER with MERGELINE_REGISTRY_PASSWORD, which go to the host
    MERGELINE_REGISTRY_HOST and to no other. Raises `ServiceError`
    where the registry does not answer.
    """
    name, _, digest = image.partition("@")
    host, path = _place(name)
    address = f"{_scheme(host)}://{host}/v2/{path}/manifests/{digest}"
    found = _manifest(address, host, path, environment)
    if found is None:
        raise VerificationError(f"{host}: holds no image {path}@{digest}; push it, or release the one that is there")
    if f"sha256:{hashlib.sha256(found).hexdigest()}" != digest:
        raise VerificationError(f"{host}: holds other bytes under {path}@{digest}; see who writes to this registry")


def _place(name: str) -> tuple[str, str]:
    """The registry's host and the repository of an image's name; a name without a host is Docker Hub's.

    >>> _place("ghcr.io/team/server"), _place("python")
    (('ghcr.io', 'team/server'), ('registry-1.docker.io', 'library/python'))
    """
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return DOCKER_HUB, name if slash else f"library/{name}"


def _scheme(host: str) -> str:
    """Plain HTTP on this machine alone, as every client of registries has it."""
    return "http" if host.partition(":")[0] in ("localhost", "127.0.0.1") else "https"


def _manifest(address: str, host: str, path: str, environment: Mapping[str, str]) -> bytes | None:
    """The manifest's bytes, None where there is none; asked a second time where the registry wants a login."""
    try:
        return _asked(address, None)
    except urllib.error.HTTPError as err:
        if err.code == 404:
            return None
        if err.code != 401:
            raise ServiceError(f"{host}: answers {err.code} for an image's manifest; see to the registry") from err
        login = _login(host, path, err.headers.get("WWW-Authenticate", ""), environment)
    try:
        return _asked(address, login)
    except urllib.error.HTTPError as err:
        if err.code == 404:
            return None
        raise ServiceError(f"{host}: refuses the login ({err.code}); see who may read {path}") from err


def _asked(address: str, authorization: str | None) -> bytes:
    headers = {"Accept": ", ".join(MANIFESTS)} | ({"Authorization": authorization} if authorization else {})
    try:
        request = urllib.request.Request(address, headers=headers)  # noqa: S310 - http(s) by construction
        with urllib.request.build_opener(_Careful).open(request, timeout=TIMEOUT_S) as answer:
            content: bytes = answer.read(LARGEST_MANIFEST_BYTES)
            announced = answer.headers.get("Content-Length", "")
    except urllib.error.HTTPError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as err:
        host = urllib.parse.urlsplit(address).netloc
        raise ServiceError(f"{host}: the registry does not answer ({err}); try again") from err
    if announced.isdigit() and len(content) < int(announced):
        host = urllib.parse.urlsplit(address).netloc
        raise ServiceError(f"{host}: {len(content)} of {announced} bytes came; try again")
    return content


class _Careful(urllib.request.HTTPRedirectHandler):
    """Follows a registry to where it keeps its blobs, without the login."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        follows = super().redirect_request(req, fp, code, msg, headers, newurl)
        if follows is not None and follows.host != req.host:
            follows.remove_header("Authorization")
        return follows


def _login(host: str, path: str, challenge: str, environment: Mapping[str, str]) -> str:
    """The header that the registry asks for: basic, or a token that it gives to whom may read the repository."""
    ecr = _ECR.fullmatch(host)
    if ecr:
        return f"Basic {_ecr_token(ecr[1])}"
    user, password = (environment.get(f"MERGELINE_REGISTRY_{name}", "") for name in ("USER", "PASSWORD"))
    if environment.get("MERGELINE_REGISTRY_HOST") != host:
        user = ""  # a release file names the host, and whoever may write it must not get the password
    basic = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else None
    kind, _, rest = challenge.partition(" ")
    if kind.lower() != "bearer":
        if basic is None:
            raise ServiceError(f"{host}: wants a login; set MERGELINE_REGISTRY_HOST, _USER and _PASSWORD")
        return basic
    told: dict[str, str] = dict(_CHALLENGE.findall(rest))
    realm = told.get("realm", "")
    if urllib.parse.urlsplit(realm).scheme != "https" and _scheme(host) == "https":
        raise ServiceError(f"{host}: wants a token from {realm!r}, which is no https address; see to the registry")
    query = urllib.parse.urlencode({"service": told.get("service", ""), "scope": f"repository:{path}:pull"})
    try:
        answer: Any = json.loads(_asked(f"{realm}?{query}", basic))
        return f"Bearer {answer.get('token') or answer['access_token']}"
    except (urllib.error.HTTPError, ValueError, RecursionError, AttributeError, LookupError, TypeError) as err:
        raise ServiceError(f"{host}: gives no token to read {path} ({err!r:.200}); see who may read it") from err


def _ecr_token(region: str) -> str:
    import botocore.exceptions
    import botocore.session

    try:
        client = botocore.session.Session().create_client("ecr", region_name=region)
        return str(client.get_authorization_token()["authorizationData"][0]["authorizationToken"])
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as err:
        raise ServiceError(f"ECR in {region}: gives no token ({err}); see to the AWS account") from err
