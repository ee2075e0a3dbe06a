"""The verbs `decide` and `heartbeat`: what follows from drift, labels, errors and age, and who is told of it.

`decide` keeps a record; `decide act`, `decide issue` and `decide notify` read that record and nothing else, so that
each can run with the rights of its own.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import logging
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from mergeline import files, git
from mergeline.commands import retraining
from mergeline.commands.evidence import Place, gather
from mergeline.commands.logplace import log_url
from mergeline.commands.promotion import ROLLBACK, rollback
from mergeline.commands.settings import load_params
from mergeline.errors import ConfigurationError, DataError, DegradationFound, ServiceError, VerificationError
from mergeline.github.run import Run
from mergeline.heartbeat import Beat, exposition, read_beat, write_beat
from mergeline.layout import PRODUCTION
from mergeline.logstore import LogStore, open_log
from mergeline.monitor import alerts
from mergeline.monitor.decide import Decision, as_record, decide, markdown, parse_record, sentence
from mergeline.monitor.decide.decision import Beside, Outcome
from mergeline.monitor.decide.record import key_of
from mergeline.monitor.decide.statement import SAYS, needs_a_person
from mergeline.params.decide import Action
from mergeline.release.proposals import Base, Proposal, fetch_base, propose
from mergeline.report.escape import clean

logger = logging.getLogger(__name__)

FOLDER = files.LOCAL_STATE / "decide"
RECORD, MARKDOWN = FOLDER / "decision.json", FOLDER / "decision.md"
STANDING = "alerts/standing.json"
MATTER = "monitoring"
LABELS = ("monitoring",)
MADE_BY = "mergeline decide"
SHARE_FILE = Path("k8s/components/challenger/deployment.yaml")
BOUNDS_FILE = Path("k8s/overlays/production/autoscaler.yaml")
BRANCHES: Final = {  # of each action, and the file that it changes; a retraining's is in `retraining`
    Action.ROLL_BACK: (ROLLBACK, PRODUCTION),
    Action.CHALLENGER_SHARE: ("decide/challenger-share", SHARE_FILE),
    Action.SCALE_BOUNDS: ("decide/scale-bounds", BOUNDS_FILE),
}
_SHARE = re.compile(r'(- name: MERGELINE_SHARE\n\s+value: ")[^"\n]*(")')
_LEAST, _MOST = re.compile(r"(?m)^(\s*minReplicas: ).*$"), re.compile(r"(?m)^(\s*maxReplicas: ).*$")


def decide_verb(parsed: argparse.Namespace) -> str:
    """Make a decision, or carry out a step of the one that was made."""
    if parsed.step == "act":
        return act(parsed.root, parsed.remote, os.environ)
    if parsed.step == "issue":
        return keep_issue(parsed.root, os.environ)
    store = open_log(log_url(parsed.log, os.environ), parsed.root)
    if parsed.step == "notify":
        return notify(parsed.root, store, os.environ, strict=parsed.strict)
    place = Place(parsed.root, store, load_params(parsed.root), _now(parsed.now), parsed.remote, os.environ)
    made = make(place, parsed.request)
    return json.dumps(as_record(made), indent=2, allow_nan=False) if parsed.json else sentence(made)


def _now(given: dt.datetime | None) -> dt.datetime:
    return given or dt.datetime.now(dt.UTC).replace(microsecond=0)


# ---- Decide ----------------------------------------------------------------------------------------------------------


def make(place: Place, request: str | None) -> Decision:
    """Decide, and keep the record in the log and under `.mergeline/decide/`, with the text of the issue beside it."""
    if request is not None and not request.strip():
        raise ConfigurationError("--request: expected a reason, found nothing")
    made = decide(gather(place, request), place.settings.decide)
    record = as_record(made)
    files.write_json(place.root / RECORD, record)
    files.write_text(place.root / MARKDOWN, markdown(made))
    place.store.put(key_of(place.at), (place.root / RECORD).read_bytes())
    return made


def made(root: Path) -> Decision:
    """Return the decision that `mergeline decide` left; raise `DataError` where there is none."""
    return parse_record(files.read_json(root / RECORD, MADE_BY), str(RECORD))


# ---- Act: each a branch of one commit, for a person to merge ---------------------------------------------------------


def act(root: Path, remote: str, environment: Mapping[str, str]) -> str:
    """Push the branches that the decision asks for, and remove those that one asked for whose reason is over.

    Returns what was done, one line each. Twice changes nothing.
    """
    decision = made(root)
    trailer = retraining.trailer(decision)
    said = []
    if decision.action is Action.RETRAIN:
        said.append(retraining.push(root, remote, decision, environment))
    if decision.action is Action.ROLL_BACK:
        said.append(rollback(root, remote, None, trailer=trailer))
    for each in decision.beside:
        if each.share is not None:
            said.append(_propose(root, remote, SHARE_FILE, _with_share(each.share), each, trailer))
        if each.replicas is not None:
            said.append(_propose(root, remote, BOUNDS_FILE, _with_bounds(*each.replicas), each, trailer))
    said += withdraw(root, remote, decision)
    return "\n".join(said) or f"nothing to propose: {sentence(decision)}"


def _propose(
    root: Path, remote: str, path: Path, change: Callable[[str], str | None], beside: Beside, trailer: str
) -> str:
    def plan(base: Base) -> Proposal:
        standing = git.read(root, base.commit, path)
        text = None if standing is None else change(standing.decode("utf-8", "replace"))
        if text is None:
            raise DataError(f"{path}: expected the setting that {beside.action} changes, found none on {base.name}")
        title = f"Change the {beside.action}: {clean(beside.rule, 60)}"
        message = f"{title}\n\n{clean(beside.why, 2000)}\n\n{trailer}"
        return Proposal(BRANCHES[beside.action][0], {path: text.encode()}, message)

    return propose(root, remote, plan).said


def withdraw(root: Path, remote: str, decision: Decision) -> list[str]:
    """Remove the branches that an earlier decision has proposed, where no rule asks for them any more.

    One that a person has proposed or committed to stays, and so does one whose rule waits, or rests on a fact that is
    not known now. A retraining stays as well: new rows are worth having whatever asked for them.
    """
    asking = {each.action for each in decision.considered if each.outcome is not Outcome.NOT}
    asking |= {decision.action, *(each.action for each in decision.beside)}
    over = {branch: path for action, (branch, path) in BRANCHES.items() if action not in asking}
    if remote not in git.do(root, "remote").split():
        return []
    try:
        listed = git.do(root, "ls-remote", "--heads", remote).split()[1::2]
    except ConfigurationError as err:
        raise ServiceError(f"{remote}: does not answer ({err}); try again") from err
    standing = {branch: path for branch, path in over.items() if f"refs/heads/{branch}" in listed}
    said = (_withdraw(root, remote, branch, path) for branch, path in standing.items())
    return [line for line in said if line is not None]


def _withdraw(root: Path, remote: str, branch: str, path: Path) -> str | None:
    """Remove a branch by proposing what the base has already; None where it is a person's."""
    base = fetch_base(root, remote)
    git.do(root, "fetch", "--quiet", "--no-tags", remote, f"refs/heads/{branch}")
    brought = git.do(root, "log", "--first-parent", "--format=%B", f"{base.commit}..FETCH_HEAD")
    if f"\n{retraining.DECIDED}: " not in brought:
        return None
    try:
        propose(root, remote, lambda now: Proposal(branch, {path: git.read(root, now.commit, path)}, ""))
    except VerificationError as err:
        logger.info("%s", err)
        return None
    return f"{branch} is removed: no rule asks for it any more"


def _with_share(share: float) -> Callable[[str], str | None]:
    def change(text: str) -> str | None:
        changed, times = _SHARE.subn(rf"\g<1>{share:g}\g<2>", text)
        return changed if times == 1 else None

    return change


def _with_bounds(least: int, most: int) -> Callable[[str], str | None]:
    def change(text: str) -> str | None:
        half, once = _LEAST.subn(rf"\g<1>{least}", text)
        whole, again = _MOST.subn(rf"\g<1>{most}", half)
        return whole if (once, again) == (1, 1) else None

    return change


# ---- Tell ------------------------------------------------------------------------------------------------------------


def keep_issue(root: Path, environment: Mapping[str, str]) -> str:
    """See to it that the one issue says what the decision says, or is closed where nothing is to be done."""
    from mergeline.github.issues import Wanted, put

    decision = made(root)
    about = decision.rule or ", ".join(each.rule for each in decision.beside) or decision.why[0]
    model = (decision.evidence.model.sha256 or "")[:12]
    turn = "/".join([model, decision.action, decision.rule or "", *(each.rule for each in decision.beside)])
    title = f"Monitoring: {SAYS[decision.action].lower()} ({clean(about, 100)})"
    wanted = Wanted(MATTER, turn, title, markdown(decision), LABELS, over=not needs_a_person(decision))
    return put(wanted, environment)


def notify(root: Path, store: LogStore, environment: Mapping[str, str], *, strict: bool) -> str:
    """Tell the webhook what begins with this decision and what is over; raise only where that was asked for."""
    decision = made(root)
    kept = alerts.kept_of(decision)
    return tell(store, environment, alerts.alerts_of(decision), kind="decision", strict=strict, kept=kept)


def tell(
    store: LogStore,
    environment: Mapping[str, str],
    found: tuple[alerts.Alert, ...],
    *,
    kind: str,
    strict: bool,
    kept: Collection[str] = (),
) -> str:
    """Send what is new and what is over among the alerts of a kind; the others, and those `kept`, stand as they are.

    What was not taken is told at the next run. A refusal is a warning, with `strict` the error that it is.
    """
    from mergeline.webhook import VARIABLE, address_of, send

    url = address_of(environment)
    if url is None:
        return f"nobody is told: {VARIABLE} is not set"
    standing = _standing(store)
    mine = {key: each for key, each in standing.items() if (key == "heartbeat") is (kind == "heartbeat")}
    told = 0
    for message in alerts.messages(mine, found, kept):
        try:
            send(url, alerts.payload(message, Run.of(environment).page))
        except ServiceError as err:
            if strict:
                raise
            logger.warning("%s; it is told at the next run", err)
            break
        told += 1
        standing = alerts.after(standing, message)
        store.put(STANDING, (json.dumps(alerts.as_record(standing), indent=2) + "\n").encode())
    return f"{told} messages sent, {len(standing)} alerts stand"


def _standing(store: LogStore) -> dict[str, alerts.Alert]:
    if STANDING not in store.keys(STANDING):
        return {}
    try:
        raw = json.loads(store.read(STANDING))
    except ValueError as err:
        raise DataError(
            f"{store.url}: {STANDING}: not JSON ({err}); remove it, every alert is then told again"
        ) from err
    return alerts.parse_standing(raw, f"{store.url}: {STANDING}")


# ---- Heartbeat -------------------------------------------------------------------------------------------------------


def heartbeat_verb(parsed: argparse.Namespace) -> str:
    """Keep a beat, or say whether the last one is as new as its schedule allows."""
    store = open_log(log_url(parsed.log, os.environ), parsed.root)
    now = _now(parsed.now)
    if parsed.beat:
        write_beat(store, Beat(now, load_params(parsed.root).decide.heartbeat_hours))
        return f"{store.url}: a run ended well at {now:%Y-%m-%d %H:%M} UTC"
    beat = read_beat(store)
    if parsed.prometheus:
        return exposition(beat).rstrip()
    return heartbeat(store, beat, now, os.environ if parsed.notify else {})


def heartbeat(store: LogStore, beat: Beat | None, now: dt.datetime, environment: Mapping[str, str]) -> str:
    """Return when the schedule last ran well; raise `DegradationFound` where that is too long ago."""
    if beat is not None and not beat.is_overdue(now):
        tell(store, environment, (), kind="heartbeat", strict=False)
        return f"{store.url}: the last run ended well {beat.age_hours(now):.1f} hours ago"
    since = _silence(beat, now)
    text = f"{store.url}: {since}; see whether the schedule of drift.yml is enabled, and its last run"
    overdue = alerts.Alert("heartbeat", alerts.Severity.CRITICAL, "The scheduled check is silent", since)
    tell(store, environment, (overdue,), kind="heartbeat", strict=False)
    raise DegradationFound(text)


def _silence(beat: Beat | None, now: dt.datetime) -> str:
    """What is wrong with the last beat."""
    if beat is None:
        return "no run has ended well yet"
    age = beat.age_hours(now)
    if age < 0:
        return f"the last run ended well {-age:.1f} hours from now, by a clock that goes wrong"
    return f"the last run ended well {age:.1f} hours ago, {beat.allowed_hours:g} are allowed"
