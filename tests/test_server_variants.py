"""Champion, challenger and shadow in one running server: who answers whom, and that nobody else notices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from scipy import stats
from servers import Released, Server, ids_in, logged, release, requests_of, run, serving
from tables import orders, params

from mergeline.models.scorer import Scorer
from mergeline.serve.shadow import MOST_WAITING_ROWS

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

ENTITIES = [f"customer-{number}" for number in range(2_000)]
SHARE = 0.3
CHANCE = 1e-6  # of a test that fails where nothing is wrong


def shops_of(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The same orders from other shops."""
    return table.assign(shop=[names[number % len(names)] for number in range(len(table))])


@pytest.fixture(scope="module")
def champion(candidate: Trained, tmp_path_factory: pytest.TempPathFactory) -> Released:
    return release(tmp_path_factory.mktemp("variants"), candidate, "champion")


@pytest.fixture(scope="module")
def challenger(champion: Released) -> Released:
    """A model in the same store that knows other shops, in another order, and reads no `noise`."""
    from mergeline.stages.train import train

    names = ["s29", "s03", "new-a", "s01", "new-b", "s14", "s02", "new-c"]
    table = shops_of(orders(seed=11), names).assign(channel=lambda rows: rows.channel.replace("desk", "kiosk"))
    data = {"numeric": ["since", "visits", "amount", "member"], "categorical": ["shop", "channel"]}
    return release(champion.root, train(table, params(data=data)), "challenger")


def options(champion: Released, challenger: Released, log: Path, *more: str) -> tuple[str, ...]:
    return *champion.options, "--challenger", str(challenger.file), "--log", str(log), *more


def mixed_orders(rows: int) -> pd.DataFrame:
    """Orders with every kind of shop: known to both, to one of the two, to none, missing."""
    shops = ["s03", "s29", "s07", "s22", "new-a", "new-b", "new-c", "nowhere", None]
    channels = ["app", "desk", "kiosk", "web", "fax", None]
    return orders(rows, seed=12).assign(
        shop=pd.Series([shops[number % len(shops)] for number in range(rows)], dtype="str"),
        channel=pd.Series([channels[number % len(channels)] for number in range(rows)], dtype="str"),
    )


def ask_for(server: Server, row: dict[str, Any], entities: Sequence[str | None]) -> list[dict[str, Any]]:
    """The predictions of one row for each entity, in requests of a thousand."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(entities), 1_000):
        rows = [{"features": row} | ({"entity_id": name} if name else {}) for name in entities[start : start + 1_000]]
        found += server.ask("/predict", {"rows": rows}).predictions
    return found


@pytest.fixture(scope="module")
def row(champion: Released) -> dict[str, Any]:
    return dict(champion.signature.samples[0].row)


@pytest.fixture(scope="module")
def server(champion: Released, challenger: Released, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log")
    with serving(champion.root, *options(champion, challenger, log, "--share", str(SHARE))) as running:
        yield running


def answering(server: Server, row: dict[str, Any]) -> list[str]:
    return [each["variant"] for each in ask_for(server, row, ENTITIES)]


# ---- By share --------------------------------------------------------------------------------------------------------


def test_the_challenger_gets_about_its_share_of_the_entities(server: Server, row: dict[str, Any]) -> None:
    taken = answering(server, row).count("challenger")
    assert stats.binomtest(taken, len(ENTITIES), SHARE).pvalue > CHANCE
    assert stats.binomtest(taken, len(ENTITIES), SHARE + 0.1).pvalue < CHANCE  # the twin: another share is noticed


def test_an_entity_keeps_its_variant_from_request_to_request_and_server_to_server(
    server: Server, row: dict[str, Any], champion: Released, challenger: Released, tmp_path: Path
) -> None:
    before = answering(server, row)
    assert answering(server, {**row, "amount": 1}) == before
    one_by_one = [server.predict([row], entity_id=name)[0]["variant"] for name in ENTITIES[:50]]
    assert one_by_one == before[:50]
    with serving(champion.root, *options(champion, challenger, tmp_path, "--share", str(SHARE))) as other:
        assert answering(other, row) == before


def test_a_larger_share_keeps_the_entities_of_a_smaller_one(
    server: Server, row: dict[str, Any], champion: Released, challenger: Released, tmp_path: Path
) -> None:
    small = answering(server, row)
    with serving(champion.root, *options(champion, challenger, tmp_path, "--share", "0.5")) as larger:
        large = answering(larger, row)
    moved = Counter(zip(small, large, strict=True))
    assert moved["challenger", "champion"] == 0
    assert moved["champion", "challenger"] > 0


@pytest.mark.parametrize(("share", "variant"), [("0", "champion"), ("1", "challenger")])
def test_at_the_ends_of_the_share_one_variant_answers_all(
    share: str, variant: str, row: dict[str, Any], champion: Released, challenger: Released, tmp_path: Path
) -> None:
    with serving(champion.root, *options(champion, challenger, tmp_path, "--share", share)) as server:
        assert set(answering(server, row)) == {variant}
        assert {each["variant"] for each in ask_for(server, row, [None] * 50)} == {variant}


def test_rows_without_an_entity_are_divided_by_their_own_ids(server: Server, row: dict[str, Any]) -> None:
    found = ask_for(server, row, [None] * 2_000)
    taken = [each["variant"] for each in found].count("challenger")
    assert stats.binomtest(taken, 2_000, SHARE).pvalue > CHANCE


def test_the_answer_names_the_model_whose_score_it_holds_and_keeps_the_order(
    server: Server, champion: Released, challenger: Released
) -> None:
    """Codes of categories mean other things to the challenger; one request holds rows of both."""
    table = mixed_orders(500)
    rows = requests_of(table, champion.signature)
    found = server.ask(
        "/predict",
        {"rows": [{"features": each, "entity_id": name} for each, name in zip(rows, ENTITIES, strict=False)]},
    ).predictions
    expected = {
        name: Scorer.load(champion.root / f"{name}.model").score(table)[:, 1] for name in ("champion", "challenger")
    }
    sha256 = {"champion": champion.sha256, "challenger": challenger.sha256}
    assert {each["variant"] for each in found} == set(expected)
    for number, each in enumerate(found):
        variant = each["variant"]
        assert each["model_sha256"] == sha256[variant]
        assert each["score"] == pytest.approx(expected[variant][number], abs=1e-5), (variant, rows[number])
    apart = abs(expected["champion"] - expected["challenger"])
    assert (apart > 0.01).mean() > 0.9  # the twin: scores of the other variant would be noticed


def test_what_each_variant_answered_is_in_the_log_and_in_the_metrics(
    row: dict[str, Any], champion: Released, challenger: Released, tmp_path: Path
) -> None:
    with serving(champion.root, *options(champion, challenger, tmp_path, "--share", str(SHARE))) as server:
        found = ask_for(server, row, ENTITIES[:300])
        counts = Counter(each["variant"] for each in found)
        for variant, rows in counts.items():
            assert server.metric("mergeline_predictions_total", variant=variant) == rows
        assert server.metric("mergeline_model_info", sha256=challenger.sha256, variant="challenger") == 1
        shares = {each["variant"]: each["share"] for each in server.ask("/status").json["variants"]}
        assert shares == {"champion": pytest.approx(0.7), "challenger": pytest.approx(0.3)}
        assert server.stop() == 0
    kept = logged(tmp_path, "predictions").select(["request_id", "variant", "model_sha256", "score", "entity_id"])
    assert {each["request_id"]: each for each in kept.to_pylist()} == {
        each["request_id"]: {
            **{name: each[name] for name in ("request_id", "variant", "model_sha256", "score")},
            "entity_id": entity,
        }
        for each, entity in zip(found, ENTITIES, strict=False)
    }
    assert set(ids_in(kept).values()) == {1}


# ---- In shadow -------------------------------------------------------------------------------------------------------


def shadowed(
    champion: Released, challenger: Released, log: Path, plant: tuple[str, ...] = ()
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The answers of a server with a shadow to mixed orders, and the shadow's rows in the log."""
    rows = requests_of(mixed_orders(200), champion.signature)
    with serving(champion.root, *options(champion, challenger, log, "--shadow"), plant=plant) as server:
        found = server.predict(rows)
        found += [server.predict([each])[0] for each in rows[:20]]
        server.wait_until(
            "the shadow has seen all",
            lambda: server.metric("mergeline_predictions_total", variant="shadow") == 220,
        )
        assert server.metric("mergeline_requests_total", route="predict", status="200") == 21
        assert server.stop() == 0
    kept = logged(log, "predictions").to_pylist()
    assert len(kept) == 440
    return found, [each for each in kept if each["variant"] == "shadow"]


def test_a_shadow_scores_every_row_under_the_same_id_and_answers_none(
    champion: Released, challenger: Released, tmp_path: Path
) -> None:
    found, shadow = shadowed(champion, challenger, tmp_path)
    assert {(each["variant"], each["model_sha256"]) for each in found} == {("champion", champion.sha256)}
    table = mixed_orders(200)
    expected = Scorer.load(champion.root / "challenger.model").score(table)[:, 1]
    own = {each["request_id"]: each for each in shadow}
    assert len(own) == 220
    for each, score in zip(found, expected, strict=False):
        kept = own[each["request_id"]]
        assert (kept["model_sha256"], kept["status"]) == (challenger.sha256, 200)
        assert kept["score"] == pytest.approx(score, abs=1e-5)
        assert kept["score"] != each["score"]


def test_r13_a_shadow_that_fails_changes_no_answer(champion: Released, challenger: Released, tmp_path: Path) -> None:
    good, _ = shadowed(champion, challenger, tmp_path / "good")
    found, shadow = shadowed(champion, challenger, tmp_path / "bad", plant=("failing-shadow",))
    assert [each["score"] for each in found] == [each["score"] for each in good]
    assert {(each["status"], each["score"]) for each in shadow} == {(500, None)}
    assert {each["request_id"] for each in shadow} == {each["request_id"] for each in found}


def test_r13_a_shadow_that_stands_still_holds_no_answer_up(
    champion: Released, challenger: Released, tmp_path: Path
) -> None:
    """Up to its bound the rows wait for it, those above are logged without its score; then it goes on."""
    rows = requests_of(mixed_orders(1_000), champion.signature)
    go = tmp_path / "go"
    command = options(champion, challenger, tmp_path / "log", "--shadow")
    with serving(champion.root, *command, plant=["held-shadow"], PLANTED_GO=str(go)) as server:
        found = [each for _ in range(MOST_WAITING_ROWS // len(rows)) for each in server.predict(rows)]
        beyond = [server.predict([each])[0] for each in rows[:5]]
        assert server.metric("mergeline_predictions_total", variant="champion") == MOST_WAITING_ROWS + 5
        assert server.metric("mergeline_predictions_total", variant="shadow") == 5
        assert len(server.told("the shadow cannot keep up")) == 5
        go.touch()
        server.wait_until(
            "the shadow has caught up",
            lambda: server.metric("mergeline_predictions_total", variant="shadow") == MOST_WAITING_ROWS + 5,
        )
        assert server.stop() == 0
    shadow = [each for each in logged(tmp_path / "log", "predictions").to_pylist() if each["variant"] == "shadow"]
    by_status = {status: {each["request_id"] for each in shadow if each["status"] == status} for status in (200, 500)}
    assert by_status[200] == {each["request_id"] for each in found}
    assert by_status[500] == {each["request_id"] for each in beyond}


# ---- What cannot be --------------------------------------------------------------------------------------------------


def refused(root: Path, *arguments: str) -> str:
    """What a server says that does not start, for a matter of configuration."""
    done = run(root, "serve", "--port", "0", *arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_challenger_that_reads_what_is_not_sent_is_refused(
    champion: Released, challenger: Released, tmp_path: Path
) -> None:
    """The two in each other's place: the champion's clients then send no `noise`."""
    said = refused(champion.root, *options(challenger, champion, tmp_path, "--shadow"))
    assert said.startswith("mergeline: the challenger reads noise as number, but it is not sent to the champion")


def test_a_challenger_that_reads_a_feature_as_another_kind_is_refused(champion: Released, tmp_path: Path) -> None:
    from mergeline.stages.train import train

    table = orders().assign(visits=lambda rows: rows.visits.map(lambda value: f"v{value}"))
    data = {"numeric": ["amount", "member", "since", "noise"], "categorical": ["channel", "shop", "visits"]}
    other = release(champion.root, train(table, params(data=data)), "kinds")
    said = refused(champion.root, *options(champion, other, tmp_path, "--share", "0.5"))
    assert "reads visits as category, but it is sent as number" in said


def test_a_challenger_that_answers_another_question_is_refused(champion: Released, tmp_path: Path) -> None:
    from mergeline.stages.train import train

    other = release(champion.root, train(orders(), params("regression")), "question")
    said = refused(champion.root, *options(champion, other, tmp_path, "--share", "0.5"))
    assert "the challenger predicts price (regression), the champion bought (binary)" in said


def test_a_challenger_of_other_classes_is_refused(champion: Released, tmp_path: Path) -> None:
    """The second class is what a binary score speaks of; labels are checked against the champion's classes."""
    from mergeline.stages.train import train

    table = orders().assign(bought=lambda rows: rows.bought.map({0: "no", 1: "yes"}))
    other = release(champion.root, train(table, params(data={"positive": "yes"})), "classes")
    said = refused(champion.root, *options(champion, other, tmp_path, "--share", "0.5"))
    assert "classes" in said


def test_the_champion_does_not_challenge_itself(champion: Released, tmp_path: Path) -> None:
    assert "the challenger is the champion" in refused(
        champion.root, *options(champion, champion, tmp_path, "--share", "0.5")
    )


def test_a_challenger_needs_a_role_and_one_alone(champion: Released, challenger: Released, tmp_path: Path) -> None:
    assert "--share of the requests, or --shadow" in refused(champion.root, *options(champion, challenger, tmp_path))
    both = options(champion, challenger, tmp_path, "--shadow", "--share", "0.5")
    assert "not allowed with" in refused(champion.root, *both)


def test_a_challenger_may_be_named_by_its_sha256_in_the_same_store(
    champion: Released, challenger: Released, row: dict[str, Any], tmp_path: Path
) -> None:
    asked = (*champion.options, "--challenger", challenger.sha256, "--share", "1", "--log", str(tmp_path))
    with serving(champion.root, *asked) as server:
        assert server.predict([row])[0]["model_sha256"] == challenger.sha256
