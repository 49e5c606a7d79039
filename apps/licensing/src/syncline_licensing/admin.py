"""Licensing in the admin: customers and licences to look at, products to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from .models import Customer, License, LicenseChange, Sku, UnknownSku
from .services import add_products

if TYPE_CHECKING:
    StockAdmin = admin.ModelAdmin[Any]
    StockInline = admin.TabularInline[Any, Any]
else:  # the admin's classes take no parameters when they run
    StockAdmin, StockInline = admin.ModelAdmin, admin.TabularInline

CHANGES_SHOWN: Final = 50


class Kept:
    """By messages only: people look."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class LicenseInline(Kept, StockInline):
    model = License
    fields = ["sku", "active", "since", "until", "last_event"]
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("sku")


class ChangeInline(Kept, StockInline):
    """The latest ones; all of them stand in their own list."""

    model = LicenseChange
    fields = ["what", "active", "at", "sequence", "event"]
    readonly_fields = ["what"]
    ordering = ["-id"]
    extra = 0
    verbose_name_plural = f"latest {CHANGES_SHOWN} changes"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        asked = request.resolver_match.kwargs.get("object_id", "") if request.resolver_match else ""
        rows = super().get_queryset(request).select_related("sku")
        if not asked.isdecimal():
            return rows.none()
        latest = LicenseChange.objects.filter(customer=int(asked)).order_by("-id").values("id")[:CHANGES_SHOWN]
        return rows.filter(pk__in=latest)

    @admin.display(description="what")
    def what(self, change: LicenseChange) -> str:
        return change.sku.code if change.sku else "terms"


class HoldsFilter(admin.SimpleListFilter):
    title = "licensed for"
    parameter_name = "sku"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(code, code) for code in Sku.objects.values_list("code", flat=True)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        return queryset.filter(pk__in=License.objects.filter(sku__code=self.value(), active=True).values("customer"))


@admin.register(Customer)
class CustomerAdmin(Kept, StockAdmin):
    list_display = ["__str__", "salesforce_id", "account_manager", "signed_tos", "products", "last_seen"]
    list_filter = ["signed_tos", HoldsFilter, "last_seen"]
    search_fields = ["salesforce_id", "name", "account_manager"]
    search_help_text = "Salesforce id, name or account manager"
    inlines = [LicenseInline, ChangeInline]
    show_full_result_count = False
    fieldsets = [
        (None, {"fields": ["salesforce_id", "name", "account_manager", "sales_engineer_id", ("signed_tos", "terms_since")]}),
        ("Messages", {"fields": [("first_seen", "last_seen"), ("sequence", "last_event"), "flags", "all_changes"]}),
    ]
    readonly_fields = ["all_changes"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).prefetch_related("licenses__sku")
        return rows

    @admin.display(description="licensed for", empty_value="–")
    def products(self, customer: Customer) -> str:
        return ", ".join(sorted(held.sku.code for held in customer.licenses.all() if held.active))

    @admin.display(description="history")
    def all_changes(self, customer: Customer) -> SafeString:
        address = reverse("admin:licensing_licensechange_changelist")
        return format_html('<a href="{}?customer__id__exact={}">All changes of this customer</a>', address, customer.pk)


@admin.register(Sku)
class SkuAdmin(StockAdmin):
    list_display = ["code", "name", "active", "licensed"]
    list_filter = ["active"]
    search_fields = ["code", "name"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        held = Count("licenses", filter=Q(licenses__active=True))
        rows: QuerySet[Any] = super().get_queryset(request).annotate(customers=held)
        return rows

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["code"] if obj else []  # messages and other applications know it by that

    @admin.display(description="licensed customers", ordering="customers")
    def licensed(self, sku: Any) -> int:
        return int(sku.customers)


@admin.register(License)
class LicenseAdmin(Kept, StockAdmin):
    list_display = ["customer", "sku", "active", "since", "until"]
    list_filter = ["active", "sku", "since"]
    list_select_related = ["customer", "sku"]
    search_fields = ["customer__salesforce_id", "customer__name"]
    search_help_text = "Salesforce id or name of the customer"
    show_full_result_count = False


@admin.register(LicenseChange)
class LicenseChangeAdmin(Kept, StockAdmin):
    list_display = ["at", "customer", "what", "active", "sequence", "event"]
    list_filter = ["active", "sku", "at"]
    list_select_related = ["customer", "sku"]
    search_fields = ["customer__salesforce_id", "customer__name", "event__exact"]
    search_help_text = "Salesforce id or name of the customer, or the message's id exactly"
    ordering = ["-id"]
    show_full_result_count = False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "customer__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(description="what")
    def what(self, change: LicenseChange) -> str:
        return change.sku.code if change.sku else "terms"


@admin.register(UnknownSku)
class UnknownSkuAdmin(Kept, StockAdmin):
    list_display = ["code", "count", "first_seen", "last_seen"]
    search_fields = ["code"]
    actions = ["add"]

    def has_add_sku_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("licensing.add_sku")

    @admin.action(description="Add as products", permissions=["add_sku"])
    def add(self, request: HttpRequest, chosen: QuerySet[UnknownSku]) -> None:
        added = add_products(list(chosen.values_list("code", flat=True)))
        for sku in added:
            self.log_addition(request, sku, "Added from what messages named.")
        messages.success(
            request, f"{', '.join(sku.code for sku in added)} added: what was told of them before holds from now on."
        )
