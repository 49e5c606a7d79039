"""Secrets at rest: nobody sees them, a wrong key never passes, keys can be changed."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django import forms
from django.contrib.admin.utils import display_for_field, display_for_value
from django.contrib.auth.models import User
from django.core import serializers
from django.core.checks import run_checks
from django.core.exceptions import FieldError
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.db import transaction
from django.template import Context, Template
from django.test import override_settings
from rest_framework.serializers import ModelSerializer
from syncline.connections import keyring, rotation, startup, vault
from syncline.connections.secrets import MASK, SecretDict, SecretText
from syncline.models import Connection, Registration, VaultCanary

CANARY = "s3cr3t-c4n4ry-value"
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def forget_verified() -> Iterator[None]:
    vault._verified.clear()
    yield
    vault._verified.clear()


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann")


def make_registration(secret: str | None = CANARY) -> Registration:
    return Registration.objects.create(connector="toy", name="app", client_id="id", client_secret=secret)


def raw(registration: Registration) -> str:
    with database.cursor() as cursor:
        cursor.execute("SELECT client_secret FROM syncline_registration WHERE id = %s", [registration.pk])
        (stored,) = cursor.fetchone()
    return str(stored)


def test_what_is_stored_is_ciphertext_and_reads_back() -> None:
    made = make_registration()

    assert CANARY not in raw(made)
    assert raw(made).startswith(vault.PREFIX)
    assert Registration.objects.get().client_secret.reveal() == CANARY


@pytest.mark.parametrize("credentials", [None, {}, {"token": ""}, {"token": "ü – 'quoted'", "n": [1, None, {"a": True}]}])
def test_none_empty_and_nested_credentials_stay_what_they_are(user: User, credentials: Any) -> None:
    Connection.objects.create(connector="toy", name="c", owner=user, credentials=credentials)

    assert Connection.objects.get().credentials == credentials
    assert Connection.objects.filter(credentials__isnull=True).exists() is (credentials is None)


def test_an_empty_secret_is_stored_as_one() -> None:
    assert raw(make_registration("")) != ""
    assert Registration.objects.get().client_secret.reveal() == ""


def test_a_wrong_key_fails_hard_and_never_gives_ciphertext() -> None:
    make_registration()

    with (
        override_settings(SYNCLINE_KEYS=[NEW]),
        pytest.raises(keyring.WrongKey, match=r"client_secret.*SYNCLINE_KEYS"),
    ):
        Registration.objects.get()


def test_plain_text_in_the_column_is_refused() -> None:
    made = make_registration()
    with database.cursor() as cursor:
        cursor.execute("UPDATE syncline_registration SET client_secret = 'plain' WHERE id = %s", [made.pk])

    with pytest.raises(keyring.WrongKey, match="not encrypted"):
        Registration.objects.get()


def test_nothing_is_stored_without_a_key() -> None:
    with override_settings(SYNCLINE_KEYS=[]), pytest.raises(keyring.NoKey, match="SYNCLINE_KEYS"):
        make_registration()


def test_nothing_is_stored_under_a_ring_that_cannot_read_what_is_there() -> None:
    with override_settings(SYNCLINE_KEYS=[NEW]), pytest.raises(keyring.WrongKey), transaction.atomic():
        make_registration()
    assert not Registration.objects.exists()


def test_the_canary_stops_a_start_under_a_wrong_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "close", lambda: None)  # the test's transaction lives on it
    startup.begin()

    with override_settings(SYNCLINE_KEYS=[NEW]), pytest.raises(keyring.WrongKey):
        startup.begin()


@pytest.mark.parametrize("command", [["-m", "syncline.cli", "worker"], ["-c", "import syncline_host.wsgi"]])
def test_worker_and_web_server_do_not_start_under_a_wrong_ring(database_url: str, command: list[str]) -> None:
    environment = {**os.environ, "DATABASE_URL": database_url, "SYNCLINE_KEYS": NEW}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode != 0
    assert "cannot be read with the keys in SYNCLINE_KEYS" in done.stderr


@pytest.mark.parametrize(("keys", "number"), [([], "syncline.E010"), (["not a key"], "syncline.E010"), ([NEW], "syncline.E011")])
def test_the_system_checks_name_a_bad_ring(keys: list[str], number: str) -> None:
    with override_settings(SYNCLINE_KEYS=keys):
        found = {message.id for message in run_checks(tags=["security", "database"], databases=["default"])}
    assert number in found


def test_the_system_checks_like_the_right_ring() -> None:
    found = {message.id for message in run_checks(tags=["security", "database"], databases=["default"])}
    assert not found & {"syncline.E010", "syncline.E011"}


def test_a_secret_cannot_be_searched_for() -> None:
    with pytest.raises(FieldError, match="Unsupported lookup"):
        Registration.objects.filter(client_secret=CANARY).exists()


def test_dumps_hold_ciphertext_and_load_again(user: User) -> None:
    made = make_registration()
    Connection.objects.create(connector="toy", name="c", owner=user, registration=made, credentials={"token": CANARY})
    dump = io.StringIO()
    call_command("dumpdata", "syncline", stdout=dump)

    assert CANARY not in dump.getvalue()
    Connection.objects.all().delete()
    Registration.objects.all().delete()
    for one in serializers.deserialize("json", dump.getvalue()):
        one.save()
    assert Registration.objects.get().client_secret.reveal() == CANARY
    assert Connection.objects.get().credentials == {"token": CANARY}
    with override_settings(SYNCLINE_KEYS=[NEW]), pytest.raises(serializers.base.DeserializationError):
        list(serializers.deserialize("json", dump.getvalue()))


class RegistrationSerializer(ModelSerializer):  # type: ignore[type-arg]
    class Meta:
        model = Registration
        fields = ["name", "client_secret"]


@pytest.mark.parametrize("stored", [True, False])
def test_the_secret_is_masked_wherever_it_is_turned_into_text(user: User, stored: bool) -> None:
    made = Registration(connector="toy", name="app", client_secret=CANARY)
    held = Connection(connector="toy", name="c", owner=user, credentials={"token": CANARY})
    if stored:
        made.save()
        held.save()
        made, held = Registration.objects.get(), Connection.objects.get()
    shown = [
        *(f(one) for f in (str, repr, format) for one in (made.client_secret, held.credentials, made, held)),
        f"{made.client_secret} {held.credentials} {made.__dict__} {held.__dict__}",
        "%s %r %s" % (made.client_secret, held.credentials, [made.client_secret]),  # noqa: UP031 - as logging does it
        Template("{{ r.client_secret }} {{ c.credentials }}").render(Context({"r": made, "c": held})),
        str(display_for_field(made.client_secret, Registration._meta.get_field("client_secret"), "-")),
        str(display_for_value(held.credentials, "-")),
        json.dumps(RegistrationSerializer(made).data),
        Template("{% autoescape off %}{{ r.client_secret }}{% endautoescape %}").render(Context({"r": made})),
    ]

    assert all(CANARY not in text for text in shown), [text for text in shown if CANARY in text]
    assert MASK in shown[0]
    assert made.client_secret.reveal() == CANARY
    assert json.loads(json.dumps(held.credentials)) == {"token": CANARY}


class RegistrationForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Registration
        fields = ["name", "connector", "client_secret"]


def test_a_form_never_shows_the_secret_and_keeps_it_when_left_empty() -> None:
    made = make_registration()
    page = str(RegistrationForm(instance=made))
    form = RegistrationForm({"name": "renamed", "connector": "toy", "client_secret": ""}, instance=made)

    assert CANARY not in page
    assert vault.PREFIX not in page
    assert 'type="password"' in page
    assert form.is_valid(), form.errors
    form.save()
    assert (Registration.objects.get().name, Registration.objects.get().client_secret.reveal()) == ("renamed", CANARY)


def test_a_form_stores_a_new_secret() -> None:
    form = RegistrationForm({"name": "n", "connector": "toy", "client_secret": "another"}, instance=make_registration())
    form.save()

    assert Registration.objects.get().client_secret.reveal() == "another"


def test_rotation_moves_everything_under_the_new_key_and_goes_on_where_it_stopped(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    VaultCanary.objects.all().delete()
    with override_settings(SYNCLINE_KEYS=[OLD]):
        vault.plant_canary()
        for number in range(5):
            Connection.objects.create(connector="toy", name=str(number), owner=user, credentials={"token": f"{CANARY}{number}"})
        Connection.objects.create(connector="toy", name="none", owner=user, credentials=None)
    with override_settings(SYNCLINE_KEYS=[NEW, OLD]):
        interrupt_after(monkeypatch, batches=1)
        with pytest.raises(KeyboardInterrupt):
            rotation._rotate(Connection, Connection._meta.get_field("credentials"), dry_run=False, batch=2)
        monkeypatch.undo()
        first = by_column(rotation.rotate_all(dry_run=True, batch=2))
        second = by_column(rotation.rotate_all(batch=2))
        third = by_column(rotation.rotate_all(batch=2))

    assert first["syncline.Connection.credentials"] == second["syncline.Connection.credentials"] == (3, 2, 0)
    assert third["syncline.Connection.credentials"] == (0, 5, 0)
    assert third["syncline.VaultCanary.probe"] == (0, 1, 0)
    with override_settings(SYNCLINE_KEYS=[NEW]):
        tokens = {one.credentials["token"] for one in Connection.objects.exclude(name="none")}
    assert tokens == {f"{CANARY}{number}" for number in range(5)}


def interrupt_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    real = rotation._write
    done: list[int] = []

    def write(*arguments: Any) -> None:
        if len(done) == batches:
            raise KeyboardInterrupt
        done.append(1)
        real(*arguments)

    monkeypatch.setattr(rotation, "_write", write)


def by_column(counts: list[rotation.Count]) -> dict[str, tuple[int, int, int]]:
    return {count.column: (count.rotated, count.current, len(count.unreadable)) for count in counts}


def test_rotation_names_what_no_key_reads_and_rotates_the_rest(user: User) -> None:
    lost, kept = make_registration(), Registration.objects.create(connector="toy", name="b", client_secret="kept")
    with database.cursor() as cursor:
        cursor.execute(
            "UPDATE syncline_registration SET client_secret = %s WHERE id = %s",
            [vault.PREFIX + Fernet(OLD).encrypt(b"x").decode(), lost.pk],
        )
    output = io.StringIO()

    with pytest.raises(CommandError, match="1 secrets cannot be read"):
        call_command("rotate_credentials", stdout=output)
    assert f"Registration.client_secret: 0 rotated, 1 current, 1 unreadable (rows {lost.pk})" in output.getvalue()
    kept.refresh_from_db()
    assert kept.client_secret.reveal() == "kept"


def test_secret_values_survive_copying() -> None:
    text, data = SecretText(CANARY), SecretDict(token=CANARY)

    assert pickle.loads(pickle.dumps(text)).reveal() == CANARY
    assert pickle.loads(pickle.dumps(data)) == data
    assert text.encode() == CANARY.encode()
