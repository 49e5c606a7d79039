"""The two addresses of an OAuth sign-in. They redirect; what happened is said by a message."""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from syncline.contract import SynclineError

from . import access, grants, oauth
from .models import Connection


@login_required
@require_POST
@never_cache
def start(request: HttpRequest, connection_id: int) -> HttpResponse:
    """Sends the person to the vendor's page, or connects at once where nobody is asked; a POST, so that no foreign page can
    begin it. `?method=`: another way to sign in than the connection's."""
    user = cast(User, request.user)
    connection = access.visible_connections(user).select_related("registration", "owner").filter(pk=connection_id).first()
    if connection is None:
        raise Http404("There is no such connection.")
    try:
        method = oauth.chosen(connection, request.GET.get("method", ""))
        if method.grant == grants.CODE:
            return HttpResponseRedirect(oauth.authorization_url(connection, user, _session_key(request), method.key))
        oauth.sign_in(connection, user, method.key)
    except SynclineError as error:
        return _back(request, connection, messages.ERROR, str(error))
    return _connected(request, connection)


@login_required
@require_GET
@never_cache
def callback(request: HttpRequest) -> HttpResponse:
    """Where the vendor sends the person back to."""
    try:
        connection = oauth.finish(request.GET.dict(), cast(User, request.user), _session_key(request))
    except SynclineError as error:
        return _back(request, None, messages.ERROR, str(error))
    return _connected(request, connection)


def _connected(request: HttpRequest, connection: Connection) -> HttpResponse:
    sentence = f"{connection.name} is connected to {connection.account_name}."
    _keep(request, connection, sentence)
    return _back(request, connection, messages.SUCCESS, sentence)


def _keep(request: HttpRequest, connection: Connection, sentence: str) -> None:
    """In the connection's history, beside what is done with it in the admin."""
    from django.contrib.admin.models import CHANGE, LogEntry

    LogEntry.objects.log_actions(cast(User, request.user).pk, [connection], CHANGE, sentence, single_object=True)


def _session_key(request: HttpRequest) -> str:
    return request.session.session_key or ""


def _back(request: HttpRequest, connection: Connection | None, level: int, sentence: str) -> HttpResponse:
    """To the connection's admin page where there is one for this person, else to the admin's front page."""
    messages.add_message(request, level, sentence)
    return HttpResponseRedirect(_page(connection) if connection else reverse("admin:index"))


def _page(connection: Connection) -> str:
    from django.contrib import admin

    if admin.site.is_registered(Connection):
        return reverse("admin:syncline_connection_change", args=[connection.pk])
    return reverse("admin:index")
