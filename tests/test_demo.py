"""`make demo` does what the README says, in a database of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from psycopg.conninfo import make_conninfo
from syncline.localdb import TEST_PREFIX, admin_connection, ensure_database

pytestmark = pytest.mark.faults
OUTCOMES = ("created", "adopted", "ambiguous", "rejected", "records")
STAMPS = {"created": "2018-05-02T23:43:07Z", "modified": "2018-05-02T23:43:07Z"}
SMALL = [
    {"model": "companies.country", "pk": 1, "fields": {"iso_code": "GBP", "name": "Nowhere"}},
    {"model": "companies.company", "pk": 1, "fields": {**STAMPS, "name": "Holt & Sons", "country": 1, "monitors": []}},
    {
        "model": "companies.employee",
        "pk": 1,
        "fields": {**STAMPS, "company": 1, "name": "Ida Holt", "gender": "F", "email": "Ida@Holt.example"},
    },
]


@pytest.fixture
def database_of_its_own(database_url: str) -> Any:
    name = f"{TEST_PREFIX}demo_{os.getpid()}"
    url = make_conninfo(database_url, dbname=name)
    ensure_database(url, fresh=True)
    yield url
    with admin_connection(url) as server:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def demo(url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"DATABASE_URL": url, "SYNCLINE_STATE": str(settings.STATE_DIR), "JSON": "1"}
    inherited = {name: value for name, value in os.environ.items() if name not in {"FIXTURE", "COMPANIES"}}
    command = [sys.executable, "-m", "syncline_host.demo"]
    return subprocess.run(
        command, env={**inherited, **known, **environment}, capture_output=True, text=True, timeout=180, check=False
    )


def passes(done: subprocess.CompletedProcess[str], of: str = "passes") -> dict[tuple[str, int], dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return {(one["object"], one["pass"]): one for one in json.loads(done.stdout.splitlines()[-1])[of]}


@pytest.mark.django_db
def test_companies_and_people_arrive_once_and_the_second_push_writes_nothing(database_of_its_own: str) -> None:
    done = demo(database_of_its_own, COMPANIES="300")
    found, plans = passes(done), passes(done, "plans")

    assert list(found) == [("companies", 1), ("contacts", 1), ("companies", 2), ("contacts", 2)]
    companies = found["companies", 1]
    assert companies["created"] + companies["adopted"] + companies["ambiguous"] + companies["rejected"] == 300
    assert companies["adopted"] > 10
    assert companies["ambiguous"] >= 5
    for one in (found["companies", 2], found["contacts", 2]):
        assert (one["created"], one["updated"], one["adopted"], one["write_calls"], one["read_calls"]) == (0, 0, 0, 0, 0)
    assert found["companies", 2]["ambiguous"] == companies["ambiguous"]
    for name in ("companies", "contacts"):
        planned, pushed = plans[name, 0], found[name, 1]
        assert planned["write_calls"] == 0
        assert [planned[what] for what in OUTCOMES] == [pushed[what] for what in OUTCOMES]
    assert "what a push would do" in done.stdout


@pytest.mark.django_db
def test_a_fixture_takes_the_place_of_made_up_data(database_of_its_own: str, tmp_path: Path) -> None:
    (tmp_path / "small.json").write_text(json.dumps(SMALL))

    found = passes(demo(database_of_its_own, FIXTURE=str(tmp_path / "small.json")))

    # the one person is there already: the account holds every tenth, beginning with the first
    assert (found["companies", 1]["created"], found["contacts", 1]["adopted"]) == (1, 1)
    assert (found["companies", 2]["unchanged"], found["contacts", 2]["unchanged"]) == (1, 1)


DUPLICATES: list[Any] = [
    {"model": "companies.employee", "pk": 5, "fields": {**STAMPS, "company": 2, "name": "Before its company"}},
    *SMALL,
    {"model": "companies.country", "pk": 2, "fields": {"iso_code": "GBP", "name": "The same again"}},
    {"model": "companies.company", "pk": 2, "fields": {**STAMPS, "name": "Next Ltd", "country": 1, "monitors": []}},
    {**SMALL[2], "pk": 7},
    {"model": "companies.company", "pk": 3, "fields": {**STAMPS, "name": "In no country", "country": 2, "monitors": []}},
    {"model": "companies.nothing", "pk": 1, "fields": {}},
    "not a row",
]


@pytest.mark.django_db
def test_rows_that_do_not_fit_are_listed_and_the_others_pushed(database_of_its_own: str, tmp_path: Path) -> None:
    (tmp_path / "twice.json").write_text(json.dumps(DUPLICATES))

    done = demo(database_of_its_own, FIXTURE=str(tmp_path / "twice.json"))

    found = passes(done)
    left_out = [line for line in done.stdout.splitlines() if line.startswith("left out: ")]
    names = [line.removeprefix("left out: ").split(" (")[0].split(":")[0] for line in left_out]
    assert names == ["companies.country 2", "companies.employee 7", "companies.company 3", "companies.nothing 1", "row 10"]
    assert "already exists" in " ".join(left_out[:2])
    assert "is not present" in done.stdout
    assert found["companies", 1]["created"] == 2
    assert found["companies", 2]["unchanged"] == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("environment", "content", "said"),
    [
        ({"FIXTURE": "{folder}/missing.json"}, None, "missing.json cannot be read"),
        ({"FIXTURE": "{folder}/there.json"}, '[{"model": ', "is not readable JSON"),
        ({"FIXTURE": "{folder}/there.json"}, '{"model": "companies.country"}', "holds no list of rows"),
        ({"COMPANIES": "abc"}, None, "COMPANIES is 'abc'"),
        ({"COMPANIES": "-5"}, None, "COMPANIES is '-5'"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_sentence(
    database_of_its_own: str, tmp_path: Path, environment: dict[str, str], content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "there.json").write_text(content)

    done = demo(database_of_its_own, **{name: value.format(folder=tmp_path) for name, value in environment.items()})

    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
