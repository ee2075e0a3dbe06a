"""What a branch must show before it may be merged: the check `gate`, one finding a question."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline import base as base_branch
from mergeline import files, git, pipeline
from mergeline.errors import DataError, VerificationError
from mergeline.layout import (
    CANDIDATE,
    CHAMPION,
    COMPARISON,
    DATA,
    DATA_FILE,
    EVALUATION,
    LOCK,
    PRODUCTION,
    RECEIPT,
    RECORDED,
    RETIREMENTS,
    STAGING,
)
from mergeline.params import PARAMS_FILE
from mergeline.release.champion import parse_newer
from mergeline.release.manifests import NO_RELEASE, Release, parse_release
from mergeline.release.receipt import SERVING_CONTRACT, parse_receipt
from mergeline.release.records import retirements
from mergeline.release.retirement import parse_retirements, retired

if TYPE_CHECKING:
    from mergeline.params import Params
    from mergeline.release.receipt import Receipt

AGAIN = "`mergeline repro` and `mergeline record` bring the branch up to date"
TWO = "docs/verdict.md, Two pull requests"
FORK = "on a fork, a maintainer pushes the branch to this repository first"


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question: whether it holds, and a sentence that says so or what to do."""

    name: str
    held: bool
    said: str


def findings(root: Path, base: str | None, settings: Params) -> Iterator[Finding]:
    """Judge the versioned records of the branch at `root`; runs no stage, needs no data and no model.

    - `fresh`: every stage's records belong to its inputs;
    - `receipt`: the receipt is that of this dvc.lock, these data, this model;
    - `champion`: the comparison was with what production serves now, by the policy that holds now;
    - `releases`: each environment serves what the verdict, a promotion or a revert may put there;
    - `retirement`: no environment comes to serve a model that is retired, here or on the base branch;
    - `verdict`: the candidate was not rejected.
    """
    unchanged = base_branch.unchanged(root, base)
    stale = pipeline.stale(root)
    yield _fresh(stale)
    if stale and not (root / COMPARISON).exists():
        return  # no stage was ever recorded, so that nothing else can be asked
    yield _receipt(root, base)
    yield _champion(root, base, settings)
    comparison = _comparison(root)
    yield from _releases(root, base, settings, comparison, unchanged=unchanged)
    yield _retirement(root, base)
    yield _verdict(comparison, unchanged=unchanged)


def committed(root: Path) -> Finding:
    """Whether what lies here is what the commit holds, in plain files: a link could lead the judge elsewhere."""
    judged = (*RECORDED, PRODUCTION, Path(PARAMS_FILE), Path("dvc.yaml"), DATA_FILE)
    places = {each for path in judged for each in (path, *path.parents) if each != Path()}
    links = sorted(str(each) for each in places if (root / each).is_symlink())
    if links:
        return Finding("committed", False, f"{', '.join(links)}: expected plain files and folders, found links")
    changed = (*git.changed_files(root), *git.untracked(root, [path.as_posix() for path in judged]))
    if changed and git.head_commit(root) is not None:
        return Finding("committed", False, f"{', '.join(changed[:3])} is not as the commit has it; `mergeline record`")
    return Finding("committed", True, "what lies here is what the commit holds")


def release_for(root: Path, base: str | None, settings: Params, comparison: dict[str, Any]) -> Release:
    """Return what staging is to serve after the merge: the candidate if it is promoted, else what the base has.

    The image is the base's in either case: it changes in a pull request of its own.
    """
    standing = base_branch.release(root, base, STAGING)
    if comparison["verdict"] != "promote":
        return standing
    receipt = parse_receipt(files.read_text(root / RECEIPT, "mergeline repro"))
    return Release(
        model_sha256=receipt.model.sha256,
        store=settings.release.store,
        receipt_sha256=files.sha256(root / RECEIPT),
        image=standing.image,
    )


def _fresh(stale: dict[str, str]) -> Finding:
    if not stale:
        return Finding("fresh", True, "every stage's records belong to its inputs")
    said = "; ".join(f"{stage}: {why}" for stage, why in stale.items())
    return Finding("fresh", False, f"the branch holds no result of its inputs ({said}); {AGAIN}; {FORK}")


def _receipt(root: Path, base: str | None) -> Finding:
    try:
        content = (root / RECEIPT).read_bytes()
        receipt = parse_receipt(content.decode("utf-8"))
    except FileNotFoundError:
        return Finding("receipt", False, f"there is no {RECEIPT}; {AGAIN}")
    except (UnicodeDecodeError, VerificationError) as err:
        return Finding("receipt", False, f"{RECEIPT} cannot be read ({err}); {AGAIN}")
    is_own = content not in base_branch.receipts(root, base)
    wrong = list(_receipt_problems(root, receipt, is_own=is_own))
    if wrong:
        return Finding("receipt", False, f"{RECEIPT} is another result's: {'; '.join(wrong)}; {AGAIN}")
    return Finding("receipt", True, f"the receipt is that of {LOCK}, the data and model {receipt.model.sha256[:12]}")


def _receipt_problems(root: Path, receipt: Receipt, *, is_own: bool) -> Iterator[str]:
    """What a receipt says that is not so here; the commit of one that is the base's may be gone with its branch."""
    from mergeline.release.store import model_of

    lock = files.sha256(root / LOCK) if (root / LOCK).exists() else "missing"
    if receipt.dvc_lock_sha256 != lock:
        yield f"{LOCK} is {lock[:12]}, the receipt says {receipt.dvc_lock_sha256[:12]}"
    data = pipeline.data_md5(root)
    if receipt.data.get(DATA.name) != data:
        yield f"the data are {data}, the receipt says {receipt.data.get(DATA.name)}"
    compared = _comparison(root)["candidate"]["sha256"]
    if receipt.model.sha256 != compared:
        yield f"the comparison judged model {compared[:12]}, the receipt says {receipt.model.sha256[:12]}"
    evaluation = files.sha256(root / EVALUATION) if (root / EVALUATION).exists() else "missing"
    if receipt.evaluation_sha256 != evaluation:
        yield f"{EVALUATION} is {evaluation[:12]}, the receipt says {receipt.evaluation_sha256[:12]}"
    others = sorted(receipt.data.keys() - {DATA.name})
    if others:
        yield f"it names data called {', '.join(others)}"
    if receipt.serving_contract > SERVING_CONTRACT:
        yield f"its serving contract is {receipt.serving_contract}, servers know {SERVING_CONTRACT} (see {TWO})"
    commit = (receipt.training_commit or "").removesuffix("-dirty")
    if is_own and commit and git.head_commit(root) is not None and git.commit_of(root, commit) is None:
        yield f"it was trained from commit {commit[:12]}, which is not here"
    champion = _served(root)
    if receipt.champion_sha256 != champion:
        yield f"{CHAMPION} names {champion}, the receipt {receipt.champion_sha256}"
    if (root / CANDIDATE).exists() and (found := model_of(root / CANDIDATE)) != receipt.model:
        yield f"the model here is {found.sha256[:12]}, the receipt says {receipt.model.sha256[:12]}, or other sizes"


def _served(root: Path) -> str | None:
    """The champion of the comparison; None where there is none, or its file cannot be read."""
    try:
        standing, _ = parse_newer((root / CHAMPION).read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, VerificationError):
        return None
    return standing.served.model_sha256 if standing.served else None


def _comparison(root: Path) -> dict[str, Any]:
    from mergeline.gates.gate import Outcome
    from mergeline.gates.verdict import Verdict

    found = files.read_json(root / COMPARISON, "mergeline compare")
    try:
        well = found["verdict"] in list(Verdict) and isinstance(found["sentence"], str)
        well = well and isinstance(found["candidate"]["sha256"], str)
        well = well and all(
            isinstance(each["name"], str) and each["outcome"] in list(Outcome) for each in found["gates"]
        )
    except (KeyError, TypeError):
        well = False
    if not well:
        raise DataError(f"{COMPARISON}: not as `mergeline compare` writes it; `mergeline repro` makes it anew")
    checked: dict[str, Any] = found
    return checked


def _champion(root: Path, base: str | None, settings: Params) -> Finding:
    now = base_branch.expected(root, base, settings)
    try:
        then, newer = parse_newer((root / CHAMPION).read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, VerificationError) as err:
        return Finding("champion", False, f"{CHAMPION} cannot be read ({err}); {AGAIN}")
    if then == now and now != base_branch.standing(root, base, settings):
        return Finding("champion", True, "this branch brings no result of its own: nothing is compared anew")
    if then == now:
        whom = f"model {now.served.model_sha256[:12]}" if now.served else f"a baseline ({now.without})"
        more = f"; settings of gates that only this branch's code knows: {', '.join(newer)}" if newer else ""
        return Finding("champion", True, f"the comparison is with what production serves now: {whom}{more}")
    if then.served != now.served:
        served = now.served.model_sha256[:12] if now.served else "no model"
        compared = then.served.model_sha256[:12] if then.served else "a baseline"
        return Finding("champion", False, f"production serves {served} now, the comparison is with {compared}; {AGAIN}")
    what = "the base branch's model" if replace(then, base=now.base) == now else "the policy"
    return Finding("champion", False, f"{what} has changed since the comparison; {AGAIN}")


def _releases(
    root: Path, base: str | None, settings: Params, comparison: dict[str, Any], *, unchanged: bool
) -> Iterator[Finding]:
    for path in (STAGING, PRODUCTION):
        name = f"{path.parent.name} release"
        try:
            mine = _own_release(root, path)
        except (UnicodeDecodeError, VerificationError) as err:
            yield Finding(name, False, f"{path}: {err}")
            continue
        if path == STAGING and not unchanged:
            try:
                wanted = release_for(root, base, settings, comparison)
            except (DataError, VerificationError) as err:
                yield Finding(name, False, f"the receipt says nothing of it ({err})")
                continue
            said = "as the verdict has it" if mine == wanted else f"{path} is not as the verdict has it; {AGAIN}"
            yield Finding(name, mine == wanted, said)
        else:
            yield _known_release(root, base, path, mine, name)


def _known_release(root: Path, base: str | None, path: Path, mine: Release, name: str) -> Finding:
    """A release without a new result: the base's, another image of it, a promotion from staging, one of before."""
    standing = base_branch.release(root, base, path)
    if mine == standing:
        return Finding(name, True, "as the base branch has it")
    if path == STAGING and _but_image(mine) == _but_image(standing):
        return Finding(name, True, "the base branch's model in another image")
    if path == PRODUCTION and mine == base_branch.release(root, base, STAGING):
        return Finding(name, True, "what staging serves: a promotion")
    if base is not None and mine in base_branch.live_before(root, base, path):
        return Finding(name, True, "it was live before: a rollback, nothing is trained")
    allowed = "what staging serves or what was live before" if path == PRODUCTION else "what was live before"
    return Finding(name, False, f"{path} names a release that no verdict made; expected {allowed}")


def _retirement(root: Path, base: str | None) -> Finding:
    try:
        own = (root / RETIREMENTS).read_text(encoding="utf-8") if (root / RETIREMENTS).exists() else "[]"
        gone = retired(parse_retirements(own)) | (retired(retirements(root, base)) if base else frozenset())
    except (UnicodeDecodeError, VerificationError) as err:
        return Finding("retirement", False, str(err))
    wrong = []
    for path in (STAGING, PRODUCTION):
        with contextlib.suppress(UnicodeDecodeError, VerificationError):  # the finding of its release says so
            mine = _own_release(root, path)
            if mine.model_sha256 in gone and mine != base_branch.release(root, base, path):
                wrong.append(f"{path.parent.name} serves {str(mine.model_sha256)[:12]}")
    if wrong:
        return Finding("retirement", False, f"{' and '.join(wrong)}, which is retired; promote another model")
    return Finding("retirement", True, "no environment comes to serve a model that is retired")


def _own_release(root: Path, path: Path) -> Release:
    return parse_release((root / path).read_text(encoding="utf-8")) if (root / path).exists() else NO_RELEASE


def _but_image(release: Release) -> tuple[str | None, ...]:
    return (release.model_sha256, release.store, release.receipt_sha256)


def _verdict(comparison: dict[str, Any], *, unchanged: bool) -> Finding:
    if unchanged:
        return Finding("verdict", True, "this branch brings no result of its own: nothing is to be judged")
    from mergeline.gates import GATES

    names = [gate["name"] for gate in comparison["gates"]]
    failed = [gate["name"] for gate in comparison["gates"] if gate["outcome"] == "failed"]
    new = [name for name in names if name not in GATES]
    named = f" (failed: {', '.join(failed)})" if failed else ""
    brought = f" ({len(new)} of {len(names)} gates are this branch's own: {', '.join(new)})" if new else ""
    held = comparison["verdict"] != "reject" and not failed
    return Finding("verdict", held, f"{comparison['sentence']}{named}{brought}")


def differences(old: Any, new: Any, where: str = "", tolerance: float = 1e-6) -> Iterator[str]:
    """Yield each place at which two records differ by more than the tolerance.

    >>> list(differences({"a": [1.0, "x"]}, {"a": [1.1, "x"]}))
    ['a.0: 1.0, now 1.1']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            inner = f"{where}.{key}" if where else str(key)
            yield from differences(old.get(key), new.get(key), inner, tolerance)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for position, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, f"{where}.{position}", tolerance)
    elif _is_number(old) and _is_number(new):
        # the smaller of both: infinity would allow anything
        if not abs(old - new) <= tolerance * max(1.0, min(abs(old), abs(new))):
            yield f"{where}: {old}, now {new}"
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield f"{where}: {json.dumps(old)[:60]}, now {json.dumps(new)[:60]}"


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)
