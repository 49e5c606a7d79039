"""Webhook addresses: where a vendor is to deliver, with which secrets, and what was refused."""

from __future__ import annotations

from typing import Any, Final, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from syncline import registry
from syncline.connections import access
from syncline.connections.models import Connection, Registration
from syncline.contract.connector import Capability
from syncline.inbox import addresses, overview
from syncline.inbox.models import WebhookAddress
from syncline.inbox.reading import NO_SECRET

from .base import ObjectAction, person, rights
from .inbox import PostedAdmin, may_change_address

Owner = Registration | Connection
REFUSALS_SHOWN: Final = 14
CAUSES: Final = {
    "unsigned": "It bears no signature. Let the vendor sign, or somebody else knows the address.",
    "forged": "No secret stored here made its signature. Compare the secrets; at some vendors also the exact address.",
    "stale": "It was signed too long ago. Look at the clock of this machine.",
    "malformed": "Its signature cannot be read.",
    NO_SECRET: "Nothing could be verified: store the vendor's signing secret here.",
    "too large": "It is larger than SYNCLINE_INBOX_BODY allows.",
    "switched off": "The address or its connector was switched off; the vendor was asked to deliver again later.",
    "not checked": "The connector could not check it; the vendor was asked to deliver again later.",
}


def receives(connector: str) -> bool:
    found = registry.connectors().get(connector)
    return found is not None and Capability.PARSE in found.implements


def may_make(request: HttpRequest, owner: Owner) -> bool:
    if isinstance(owner, Connection):
        return rights(request, owner).change
    return person(request).has_perm("syncline.change_registration")


def card(request: HttpRequest, owner: Owner) -> dict[str, Any]:
    """What the page of a registration or connection says of its address."""
    address = owner.webhook_addresses.first()
    which = "registration" if isinstance(owner, Registration) else "connection"
    return {
        "offered": receives(owner.connector) or address is not None,
        "address": address,
        "url": url_of(address) if address else "",
        "missing": address is not None and not ready(address),
        "may_make": may_make(request, owner),
        "make": f"{reverse('admin:syncline_webhookaddress_make')}?{which}={owner.pk}",
        "shared": isinstance(owner, Connection) and owner.registration_id is not None,
    }


def url_of(address: WebhookAddress) -> str:
    return addresses.url(address.names.get(current=True).slug)


def ready(address: WebhookAddress) -> bool:
    """Whether what arrives there can be verified, or need not be."""
    found = registry.connectors().get(address.connector)
    verifies = found is not None and Capability.VERIFY in found.implements and not found.info.unsigned_webhooks
    return not verifies or bool(addresses.place_of(address.pk).secrets)


def rename(page: Any, request: HttpRequest, address: WebhookAddress) -> str:
    addresses.rename(address)
    return "It has a new URL. Give it to the vendor; the earlier one goes on working as an alias until you remove it."


def add_alias(page: Any, request: HttpRequest, address: WebhookAddress) -> str:
    alias = request.POST.get("alias", "").strip()
    addresses.add_alias(address, alias)
    return f"The alias {alias} leads here too."


def drop_alias(page: Any, request: HttpRequest, address: WebhookAddress) -> str:
    addresses.drop_alias(address, request.POST.get("alias", ""))
    return "The alias was removed: what is delivered there is refused from now on."


def add_secret(page: Any, request: HttpRequest, address: WebhookAddress) -> str:
    addresses.add_secret(address, request.POST.get("secret", "").strip())
    return "The secret is stored, encrypted. Earlier ones hold beside it until you drop them."


def drop_older(page: Any, request: HttpRequest, address: WebhookAddress) -> str:
    addresses.drop_older(address)
    return "Only the newest secret holds now."


def switch(page: Any, request: HttpRequest, address: WebhookAddress) -> str:
    address.enabled = not address.enabled
    address.save(update_fields=["enabled"])
    return (
        "The address is open again." if address.enabled else "The address is switched off: vendors are asked to come again later."
    )


@admin.register(WebhookAddress)
class AddressPage(PostedAdmin):
    list_title = "Webhook addresses"
    list_display = ["owner", "connector", "enabled", "created"]
    list_filter = ["enabled"]
    ordering = ["-id"]
    object_actions = {
        "rename": ObjectAction(rename),
        "add-alias": ObjectAction(add_alias),
        "drop-alias": ObjectAction(drop_alias),
        "add-secret": ObjectAction(add_secret),
        "drop-older": ObjectAction(drop_older),
        "switch": ObjectAction(switch),
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        seen = overview.visible_addresses(person(request)).select_related("connection__owner", "registration")
        return seen.defer("secrets", "connection__credentials", "registration__client_secret")

    def allowed(self, request: HttpRequest, obj: Any) -> bool:
        return may_change_address(request, obj)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.make)
        return [path("make/", view, name="syncline_webhookaddress_make"), *super().get_urls()]

    def make(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        owner = _owner(request)
        if not may_make(request, owner):
            raise PermissionDenied
        address = addresses.make(owner)
        self.log_addition(request, address, f"Made for {owner}.")
        messages.success(request, "The address is ready. Give its URL to the vendor.")
        return HttpResponseRedirect(reverse("admin:syncline_webhookaddress_change", args=[address.pk]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        address = self.found(request, object_id)
        context = self.page(request, title=str(address).capitalize(), **address_context(request, address))
        return TemplateResponse(request, "admin/syncline/webhookaddress/page.html", context)

    @admin.display(description="address of")
    def owner(self, obj: WebhookAddress) -> str:
        return str(obj.registration or obj.connection)


def _owner(request: HttpRequest) -> Owner:
    """What the address is to belong to, if this person may see it."""
    registration, connection = request.GET.get("registration", ""), request.GET.get("connection", "")
    found: Owner | None = None
    if registration.isdecimal() and person(request).has_perm(overview.REGISTRATIONS):
        found = Registration.objects.defer("client_secret").filter(pk=registration).first()
    elif connection.isdecimal():
        found = access.visible_connections(person(request)).select_related("owner").filter(pk=connection).first()
    if found is None or not receives(found.connector):
        raise Http404("There is nothing here that could have a webhook address.")
    return found


def address_context(request: HttpRequest, address: WebhookAddress) -> dict[str, Any]:
    owner = cast(Owner, address.registration or address.connection)
    name = "registration" if address.registration_id else "connection"
    return {
        "address": address,
        "original": address,
        "owner": owner,
        "owner_page": reverse(f"admin:syncline_{name}_change", args=[owner.pk]),
        "url": url_of(address),
        "aliases": [(one.slug, addresses.url(one.slug)) for one in address.names.filter(current=False).order_by("pk")],
        "typed": len(addresses.typed(address)),
        "client_secret": bool(address.registration and address.registration.client_secret),
        "missing": not ready(address),
        "refusals": refusals(address),
        "deliveries": address.deliveries.count(),
        "may_change": may_change_address(request, address),
    }


def refusals(address: WebhookAddress) -> list[dict[str, Any]]:
    rows = address.refusals.order_by("-day", "cause")[:REFUSALS_SHOWN]
    return [{"row": one, "help": CAUSES.get(one.cause, "")} for one in rows]
