"""A Kafka cluster without a log-in, connected on the admin's pages alone."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse
from syncline.models import Connection

from tests.services.kafka.service import Kafka

pytestmark = pytest.mark.django_db(transaction=True)
ADD = "/admin/syncline/connection/add/?connector=kafka"


@pytest.fixture
def ann(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ann"))
    return client


def form(servers: str, **more: str) -> dict[str, str]:
    management = {"grants-TOTAL_FORMS": "0", "grants-INITIAL_FORMS": "0"}
    owner = str(User.objects.get().pk)
    given = {"name": "Cluster", "owner": owner, "sign_in": "none", "settings-bootstrap_servers": servers}
    return {**management, **given, "settings-security": "PLAINTEXT", **more}


@override_settings(SYNCLINE_ALLOW_LOOPBACK=True, SECURE_SSL_REDIRECT=False)
def test_a_cluster_without_a_log_in_is_connected_by_saving_and_can_be_checked_and_discovered(ann: Client, kafka: Kafka) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.servers})
    admin.create_topics([NewTopic("connected", 1, 1)])["connected"].result(20)
    answer = ann.post(ADD, form(kafka.servers))
    assert answer.status_code == 302, answer.content.decode()
    made = Connection.objects.get()
    assert (made.state, made.auth_method, made.account_name) == ("ok", "none", f"Kafka at {kafka.servers}")
    page = ann.get(reverse("admin:syncline_connection_change", args=[made.pk])).content.decode()
    assert "There are no credentials to check yet." not in page
    for step in ("check", "refresh"):
        assert reverse("admin:syncline_connection_do", args=[made.pk, step]) in page
    ann.post(reverse("admin:syncline_connection_do", args=[made.pk, "refresh"]))
    assert made.objects_offered.filter(key="connected").exists()


@override_settings(SYNCLINE_ALLOW_LOOPBACK=True, SECURE_SSL_REDIRECT=False)
def test_a_cluster_that_does_not_answer_is_told_and_nothing_is_saved(ann: Client) -> None:
    shown = ann.post(ADD, form("127.0.0.1:9")).content.decode()
    assert "Nothing was saved." in shown
    assert not Connection.objects.exists()
