"""The verbs of a server: `serve`, `fetch`, `sign`."""

from __future__ import annotations

import argparse
import datetime as dt
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline.errors import ConfigurationError
from mergeline.layout import OVERLAYS
from mergeline.release.fetch import Wanted, fetch, local_folder, wanted_of

if TYPE_CHECKING:
    from mergeline.commands.verb import Verb
    from mergeline.serve.settings import Settings

ENVIRONMENTS = ("staging", "production")
PREFIX = "MERGELINE_"
NO_LOG = "none"
SIGNING_KEY = "signing.pub"


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    serve_options(verb("serve", _serve, "answer predictions with the release of an environment"))
    _release_options(verb("fetch", _fetch, "put a release's bytes in place and verify them, as a server does"))
    _sign_options(verb("sign", _sign, "sign the model of a release, so that production may fetch it"))


def _serve(parsed: argparse.Namespace) -> None:
    serve(parsed.root, parsed, os.environ)


def _fetch(parsed: argparse.Namespace) -> str:
    return fetch_release(parsed.root, parsed, os.environ)


def _sign(parsed: argparse.Namespace) -> str:
    return sign(parsed.root, parsed, os.environ)


def serve_options(added: argparse.ArgumentParser) -> None:
    """Declare the options of `serve`; each can come from the environment too, as MERGELINE_ and its name."""
    _release_options(added)
    other = "what challenges it: an environment, a release file, or a model's SHA-256 in the same store"
    added.add_argument("--challenger", metavar="RELEASE", help=other)
    added.add_argument("--challenger-folder", type=Path, metavar="FOLDER", help="where the challenger's bytes are kept")
    role = added.add_mutually_exclusive_group()
    role.add_argument("--share", type=_share, help="the share of keys that the challenger answers, 0 to 1")
    role.add_argument(
        "--shadow", action="store_true", default=None, help="let it score and log everything and answer nothing"
    )
    added.add_argument("--host", help="the address to listen on (default: 127.0.0.1)")
    added.add_argument("--port", type=_port, help="the port (default: 8080; 0: any free one)")
    added.add_argument("--workers", type=_count, help="processes that answer (default: 1)")
    added.add_argument("--log", metavar="URL", help="a folder, s3://bucket/prefix, or none (default: .mergeline/log)")
    added.add_argument("--log-rows", type=_count, help="rows of a file of the log (default: 5000)")
    added.add_argument("--log-seconds", type=_seconds, help="seconds that a file of the log gathers (default: 30)")
    added.add_argument("--log-share", type=_share, help="the share of rows that are logged (default: 1)")
    added.add_argument("--max-rows", type=_count, help="rows of one request (default: 1000)")
    added.add_argument("--max-body", type=_count, metavar="BYTES", help="bytes of one body (default: 4194304)")
    added.add_argument("--concurrency", type=_count, help="requests answered at once by a worker (default: 256)")
    added.add_argument(
        "--wait-seconds", type=_seconds, help="how long to answer, not ready, after SIGTERM (default: 5)"
    )
    added.add_argument("--api-key-file", type=Path, metavar="FILE", help="clients must send the key in this file")
    text = "the day on which the model goes; answers tell clients so (Deprecation, Sunset)"
    added.add_argument("--sunset", type=dt.date.fromisoformat, metavar="DAY", help=text)
    added.add_argument(
        "--access-log", action="store_true", default=None, help="log every request, not only those that fail"
    )


def serve(root: Path, parsed: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Serve a release until a signal ends it."""
    from mergeline.serve.server import serve as run

    run(settings_of(root, parsed, environment))


def settings_of(root: Path, parsed: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Return what a server needs to know, from the command line, then the environment, then the defaults."""
    from mergeline.serve.logwriter import LogSettings
    from mergeline.serve.settings import Ending, Limits, Settings

    _take_from(environment, parsed)
    name, wanted = wanted_release(root, parsed)
    challenger = _challenger(root, parsed, wanted)
    if challenger is None and (parsed.share is not None or parsed.shadow):
        raise ConfigurationError("--share and --shadow need a --challenger")
    if challenger is not None and parsed.share is None and not parsed.shadow:
        raise ConfigurationError("--challenger needs a --share of the requests, or --shadow")
    log = parsed.log or ".mergeline/log"
    return Settings(
        root=root,
        environment=name,
        wanted=wanted,
        folder=parsed.folder or local_folder(root, wanted.model_sha256),
        challenger=challenger,
        challenger_folder=(parsed.challenger_folder or local_folder(root, challenger.model_sha256))
        if challenger
        else None,
        share=parsed.share,
        log_url=None if log == NO_LOG else log,
        log=LogSettings(
            **_given(batch_rows=parsed.log_rows, batch_seconds=parsed.log_seconds, sampling_rate=parsed.log_share)
        ),
        limits=Limits(
            **_given(max_rows=parsed.max_rows, max_body_bytes=parsed.max_body, concurrency=parsed.concurrency)
        ),
        ending=Ending(**_given(wait_s=parsed.wait_seconds)),
        api_key_file=parsed.api_key_file,
        access_log=bool(parsed.access_log),
        sunset=parsed.sunset,
        **_given(host=parsed.host, port=parsed.port, workers=parsed.workers),
    )


def fetch_release(root: Path, parsed: argparse.Namespace, environment: Mapping[str, str]) -> str:
    """Put a release's bytes where a server looks for them, verified; return what was done."""
    _take_from(environment, parsed)
    name, wanted = wanted_release(root, parsed)
    folder = parsed.folder or local_folder(root, wanted.model_sha256)
    fetched = fetch(wanted, root, folder)
    size = sum(len(content) for content in fetched.content.values())
    signed = "signature verified" if wanted.key else "no signature asked for"
    return f"{name}: model {fetched.model.sha256}, {size} bytes in {folder}; {signed}"


def _sign_options(added: argparse.ArgumentParser) -> None:
    """Declare the options of `sign`."""
    release_options(added)
    key = added.add_mutually_exclusive_group(required=True)
    text = "a private key on P-256 in PEM; its password comes from MERGELINE_KEY_PASSWORD"
    key.add_argument("--private-key", type=Path, metavar="FILE", help=text)
    key.add_argument("--kms", metavar="KEY", help="the id, ARN or alias of a key on P-256 in AWS KMS")
    text = "write the public key there, too: as signing.pub in an overlay it makes that environment ask for signatures"
    added.add_argument("--write-public", type=Path, metavar="FILE", help=text)


def sign(root: Path, parsed: argparse.Namespace, environment: Mapping[str, str]) -> str:
    """Sign the model of a release, and put the signature beside it in the store."""
    from mergeline.files import write_text
    from mergeline.release import signing
    from mergeline.release.signers import KeyFile, Kms
    from mergeline.release.store import open_store

    password = environment.get("MERGELINE_KEY_PASSWORD")
    signer = Kms.open(parsed.kms) if parsed.kms else KeyFile.read(parsed.private_key, password)
    _take_from(environment, parsed)
    name, wanted = wanted_release(root, parsed)
    store = open_store(wanted.store, root)
    model = store.verify_model(wanted.model_sha256)
    own = signing.fingerprint(signer.public_key)
    new = store.attach(model.sha256, own, signing.sign(model, signer))
    signing.require_signature(store, model, signer.public_key)
    if parsed.write_public:
        write_text(root / parsed.write_public, signing.format_public_key(signer.public_key))
    return f"{name}: model {model.sha256} {'signed' if new else 'was signed already'} by the key {own}"


def release_options(added: argparse.ArgumentParser) -> None:
    """Declare how a release is named."""
    which = added.add_mutually_exclusive_group()
    which.add_argument("--environment", choices=ENVIRONMENTS, help="what this environment serves (default: production)")
    which.add_argument("--release", type=Path, metavar="FILE", help="what this release.yaml names")
    which.add_argument("--model", metavar="SHA256", help="this model, with --store and, if there is one, --receipt")
    added.add_argument("--store", metavar="URL", help="the model store that holds --model")
    added.add_argument("--receipt", metavar="SHA256", help="the receipt of --model")


def wanted_release(root: Path, parsed: argparse.Namespace) -> tuple[str, Wanted]:
    """Return what to call a release, and what it names, by the options that `release_options` declares."""
    key = getattr(parsed, "key", None)
    if parsed.model:
        if not parsed.store:
            raise ConfigurationError("--model needs the --store that holds it")
        return "model", Wanted(parsed.model, parsed.store, parsed.receipt, key)
    if parsed.release:
        return parsed.release.stem, _released(parsed.release, key)
    name = parsed.environment or "production"
    return name, _released(root / OVERLAYS / name / "release.yaml", key)


def _release_options(added: argparse.ArgumentParser) -> None:
    release_options(added)
    added.add_argument("--folder", type=Path, help="where the release's bytes are kept (default: .mergeline/releases)")
    key = "the public key by whose owner the model has to be signed (default: the overlay's signing.pub, if any)"
    added.add_argument("--key", type=Path, metavar="FILE", help=key)


def _released(path: Path, key: Path | None) -> Wanted:
    """What a release file names; where a public key lies beside it, the model has to be signed by its owner."""
    own = path.parent / SIGNING_KEY
    return wanted_of(path, key or (own if os.path.lexists(own) else None))  # a link to nowhere is no way around it


def _challenger(root: Path, parsed: argparse.Namespace, champion: Wanted) -> Wanted | None:
    """The challenger, signed as the champion has to be: it answers the same clients."""
    name = parsed.challenger
    if not name:
        return None
    if len(name) == 64 and not Path(name).exists():
        return Wanted(name, champion.store, None, champion.key)
    path = root / OVERLAYS / name / "release.yaml" if name in ENVIRONMENTS else Path(name)
    return _released(path, champion.key)


def _take_from(environment: Mapping[str, str], parsed: argparse.Namespace) -> None:
    """Fill what the command line leaves open from variables such as MERGELINE_MODEL."""
    named = any(getattr(parsed, name, None) for name in ("environment", "release", "model"))
    for name, value in vars(parsed).items():
        text = environment.get(PREFIX + name.upper(), "")
        if text.startswith("tcp://"):  # of a Service called mergeline Kubernetes says so as MERGELINE_PORT
            continue
        if value is not None or not text or (named and name in ("environment", "release", "model", "store", "receipt")):
            continue
        parse = VARIABLES.get(name)
        if parse is None:
            continue
        try:
            setattr(parsed, name, parse(text))
        except (ValueError, argparse.ArgumentTypeError) as err:
            raise ConfigurationError(f"{PREFIX}{name.upper()}: {err}") from err


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, found {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, found {text}")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, found {text}")
    return value


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, found {text}")
    return text == "true"


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds from 0 on, found {text}")
    return value


# What may come from the environment; a pod's manifest sets these.
VARIABLES: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("model", "store", "receipt", "challenger", "host", "log", "environment"), str),
    **dict.fromkeys(("folder", "challenger_folder", "key", "release", "api_key_file"), Path),
    **dict.fromkeys(("workers", "log_rows", "max_rows", "max_body", "concurrency"), _count),
    **dict.fromkeys(("log_seconds", "wait_seconds"), _seconds),
    **dict.fromkeys(("share", "log_share"), _share),
    **dict.fromkeys(("shadow", "access_log"), _flag),
    "port": _port,
    "sunset": dt.date.fromisoformat,
}
