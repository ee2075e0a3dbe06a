"""`mergeline cloud check` on what terraform/ made: whole, and with each break that it has to name."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from terraform_runs import Cloud, applied, begin, needed, shared_folder

from mergeline.cli import main
from mergeline.cloud.destroy import empty_bucket
from mergeline.cloud.publish import figures
from mergeline.heartbeat import Beat, write_beat
from mergeline.logstore import LogStore, open_log
from mergeline.params.decide import DecideParams

BUCKET = "mergeline-123456789012-{}"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Cloud:
    needed()
    return applied(begin(shared_folder(tmp_path_factory, worker_id)))


@pytest.fixture
def copy(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A copy to break, and the environment of whoever looks at it."""
    with cloud.forked(tmp_path / "terraform") as other:
        for key, value in other.environment.items():
            monkeypatch.setenv(key, value)
        monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
        (tmp_path / "outputs.json").write_text(json.dumps(cloud.plan["planned_values"]["outputs"]))
        yield other


def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["cloud", "check", "--outputs", str(tmp_path / "outputs.json")])
    return code, capsys.readouterr().out


def confirm(cloud: Cloud) -> None:
    """The mail's link was followed."""
    sns = cloud.client("sns")
    [topic] = [each["TopicArn"] for each in sns.list_topics()["Topics"]]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:eu-central-1:123456789012:confirmed")


def without(cloud: Cloud, bucket: str, sid: str) -> None:
    """Take a statement out of a bucket's policy."""
    s3 = cloud.client("s3")
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    policy["Statement"] = [each for each in policy["Statement"] if each["Sid"] != sid]
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def widen(cloud: Cloud) -> None:
    """Let every job of every repository of the owner be the role that trains."""
    iam = cloud.client("iam")
    trust = iam.get_role(RoleName="mergeline-train")["Role"]["AssumeRolePolicyDocument"]
    text = json.dumps(trust).replace("StringEquals", "StringLike").replace("model@345:environment:train", "*")
    iam.update_assume_role_policy(RoleName="mergeline-train", PolicyDocument=text)


def taken_over(cloud: Cloud) -> None:
    """Let another repository be the role that releases, whose owner took our names: by the ids it is another."""
    iam = cloud.client("iam")
    trust = iam.get_role(RoleName="mergeline-release")["Role"]["AssumeRolePolicyDocument"]
    text = json.dumps(trust).replace("acme@12/model@345", "acme@666/model@777")
    iam.update_assume_role_policy(RoleName="mergeline-release", PolicyDocument=text)


def remove(cloud: Cloud, bucket: str) -> None:
    """Take a bucket away, with what other tests left in it."""
    empty_bucket(cloud.client("s3"), bucket)
    cloud.client("s3").delete_bucket(Bucket=bucket)


Break = Callable[[Cloud], Any]
BREAKS: dict[str, tuple[Break, str]] = {
    "no bucket": (lambda c: remove(c, BUCKET.format("mlflow")), "there is no such bucket"),
    "public": (lambda c: c.client("s3").delete_public_access_block(Bucket=BUCKET.format("dvc")), "public access"),
    "no versions": (
        lambda c: c.client("s3").put_bucket_versioning(
            Bucket=BUCKET.format("dvc"), VersioningConfiguration={"Status": "Suspended"}
        ),
        "old versions are not kept",
    ),
    "no encryption": (lambda c: c.client("s3").delete_bucket_encryption(Bucket=BUCKET.format("dvc")), "encrypted"),
    "no TLS": (lambda c: without(c, BUCKET.format("state"), "TlsOnly"), "without TLS"),
    "written twice": (lambda c: without(c, BUCKET.format("models"), "WriteOnce"), "written twice (promise S6)"),
    "tags that move": (
        lambda c: c.client("ecr").put_image_tag_mutability(
            repositoryName="mergeline/server", imageTagMutability="MUTABLE"
        ),
        "another image",
    ),
    "no key": (
        lambda c: c.client("kms").disable_key(
            KeyId=c.client("kms").describe_key(KeyId="alias/mergeline-signing")["KeyMetadata"]["KeyId"]
        ),
        "nothing can be signed",
    ),
    "no boundary": (
        lambda c: c.client("iam").delete_role_permissions_boundary(RoleName="mergeline-apply"),
        "our boundary does not bound",
    ),
    "another boundary": (
        lambda c: c.client("iam").put_role_permissions_boundary(
            RoleName="mergeline-image", PermissionsBoundary="arn:aws:iam::aws:policy/AdministratorAccess"
        ),
        "mergeline-image: our boundary does not bound",
    ),
    "anybody trains": (widen, "mergeline-train: others than environments of acme/model may become it (promise S2)"),
    "the name was taken over": (taken_over, "mergeline-release: others than environments of acme/model"),
    "no trainer": (
        lambda c: c.client("ecr").delete_repository(repositoryName="mergeline/trainer", force=True),
        "mergeline/trainer: there is no such registry",
    ),
}


def test_what_was_applied_is_as_it_has_to_be_but_for_the_mail_that_a_person_confirms(
    copy: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = check(tmp_path, capsys)
    if "nobody has confirmed yet" in said:
        assert code == 6
        confirm(copy)
        code, said = check(tmp_path, capsys)
    lines = said.splitlines()
    assert (code, lines[-1]) == (0, "what was looked at is as it has to be")
    assert [each.partition(":")[0] for each in lines[1:-1]] == ["looked at"] * 5 + ["not looked at"]


def test_every_break_is_named_with_what_mends_it(
    copy: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(check(tmp_path, capsys)[1].splitlines())
    for breaks, _ in BREAKS.values():
        breaks(copy)
    code, said = check(tmp_path, capsys)
    assert code == 6
    for name, (_, expected) in BREAKS.items():
        assert expected in said, name
    assert said.count("terraform -chdir=terraform apply") >= len(BREAKS) - 1
    assert said.count("terraform -chdir=terraform/bootstrap apply") == 1
    assert len(said.splitlines()) >= before + len(BREAKS)


# ---- What the alarms wait for ----------------------------------------------------------------------------------------


def logged(cloud: Cloud, hour: dt.datetime, latencies: list[float], statuses: list[int]) -> None:
    """A file of the log, as far as it is read here."""
    body = io.BytesIO()
    pq.write_table(pa.table({"latency_ms": latencies, "status": pa.array(statuses, pa.int32())}), body)
    key = f"production/predictions/date={hour:%Y-%m-%d}/hour={hour:%H}/{len(latencies)}.parquet"
    cloud.client("s3").put_object(Bucket=BUCKET.format("predictions"), Key=key, Body=body.getvalue())


def test_what_is_published_is_what_the_alarms_wait_for_and_an_old_beat_is_none(
    copy: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = dt.datetime.now(dt.UTC)
    logged(copy, now, [float(each) for each in range(1, 101)], [200] * 97 + [422, 500, 503])
    logged(copy, now - dt.timedelta(hours=9), [9000.0], [500])  # out of sight
    command = ["cloud", "publish", "--outputs", str(tmp_path / "outputs.json")]
    log = open_log(f"s3://{BUCKET.format('predictions')}/production", tmp_path)
    write_beat(log, Beat(now - dt.timedelta(hours=30), 26.0))
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out == "published of 100 predictions: LatencyP99 99, ErrorShare 0.02, DriftRuns 0\n"
    beat = now - dt.timedelta(minutes=20)
    write_beat(log, Beat(beat, 26.0))
    assert main(command) == 0
    assert f"DriftRuns 1 of {beat:%Y-%m-%d %H:%M} UTC\n" in capsys.readouterr().out
    found = {
        (each["Namespace"], each["MetricName"], *((d["Name"], d["Value"]) for d in each["Dimensions"]))
        for each in copy.client("cloudwatch").list_metrics(Namespace="Mergeline/mergeline")["Metrics"]
    }
    waited_for = {
        (each["namespace"], each["metric_name"], *each["dimensions"].items())
        for alarm in copy.planned("aws_cloudwatch_metric_alarm").values()
        for each in ([query["metric"][0] for query in alarm["metric_query"] if query["metric"]] or [alarm])
    }
    assert waited_for == found
    assert len(waited_for) == 3
    log.put(f"predictions/date={now:%Y-%m-%d}/hour={now:%H}/bad.parquet", b"no Parquet")
    assert main(command) == 3


Point = tuple[dt.datetime, float]


def rings(alarm: dict[str, Any], points: list[Point], now: dt.datetime) -> bool:
    """Whether the alarm of the heartbeat rings: by its expression a window without a point is 0, none is missing."""
    published, filled = sorted(alarm["metric_query"], key=lambda each: str(each["expression"]))
    assert (filled["expression"], filled["return_data"]) == (f"FILL({published['id']}, 0)", True)
    assert (alarm["comparison_operator"], published["metric"][0]["stat"]) == ("LessThanThreshold", "Sum")
    window = dt.timedelta(seconds=published["metric"][0]["period"])
    ends = [now - back * window for back in range(alarm["evaluation_periods"])]
    sums = [sum(value for at, value in points if end - window <= at < end) for end in ends]
    return all(each < alarm["threshold"] for each in sums)


def sent(log: LogStore, now: dt.datetime, *, at_its_time: bool = True) -> list[Point]:
    """What a run sends of the heartbeat, or would send if a beat counted when it is sent."""
    data = [each for each in figures(log, now, 24).data() if each["MetricName"] == "DriftRuns"]
    return [(each.get("Timestamp", now) if at_its_time else now, each["Value"]) for each in data]


def test_r12_a_run_that_fails_is_heard_of_within_30_hours_of_the_last_good_one_and_a_late_one_is_no_alarm(
    cloud: Cloud, tmp_path: Path
) -> None:
    alarm = cloud.planned("aws_cloudwatch_metric_alarm")['aws_cloudwatch_metric_alarm.main["drift-heartbeat"]']
    [window] = [each["metric"][0]["period"] for each in alarm["metric_query"] if each["metric"]]
    assert window * alarm["evaluation_periods"] == DecideParams().heartbeat_hours * 3600
    log = open_log(str(tmp_path / "log"), tmp_path)
    good = dt.datetime(2030, 1, 1, 6, 30, tzinfo=dt.UTC)
    write_beat(log, Beat(good, 30.0))
    points, failed = sent(log, good), good + dt.timedelta(hours=23, minutes=58)
    again, naive = sent(log, failed), sent(log, failed, at_its_time=False)
    late = good + dt.timedelta(hours=29)
    assert not rings(alarm, points, late)
    heard = good + dt.timedelta(hours=30, minutes=1)
    assert rings(alarm, points + again, heard)
    assert not rings(alarm, points + naive, heard)  # the twin: yesterday's beat, sent today
    assert [value for _, value in sent(log, good + dt.timedelta(hours=25))] == [0.0]
    write_beat(log, Beat(late, 30.0))
    assert not rings(alarm, points + sent(log, late), heard)


def test_a_workflow_publishes_by_its_settings_without_terraform_and_says_which_is_missing(
    copy: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = dt.datetime.now(dt.UTC)
    logged(copy, now - dt.timedelta(hours=20), [7.0], [200])
    (tmp_path / "elsewhere").mkdir()  # a folder without terraform/
    command = ["--root", str(tmp_path / "elsewhere"), "cloud", "publish", "--hours", "24"]
    settings = {"MERGELINE_CLOUD": "ours", "AWS_REGION": "eu-central-1"}
    settings["MERGELINE_LOG"] = f"s3://{BUCKET.format('predictions')}/production"
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out == "published of 1 predictions: LatencyP99 7, ErrorShare 0, DriftRuns 0\n"
    assert len(copy.client("cloudwatch").list_metrics(Namespace="Mergeline/ours")["Metrics"]) == 3
    for missing in ("AWS_REGION", "MERGELINE_LOG"):
        with monkeypatch.context() as without_it:
            without_it.delenv(missing)
            assert main(command) == 2
        assert f"{missing}: expected beside the name ours" in capsys.readouterr().err
    monkeypatch.delenv("MERGELINE_CLOUD")
    assert main(command) == 2  # and so Terraform is asked, of which there is no folder
    assert "terraform: no such folder" in capsys.readouterr().err
