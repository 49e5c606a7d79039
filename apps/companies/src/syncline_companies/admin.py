"""The register's admin: where its users keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from .datasets import NO_NAME, per_company
from .models import NAME_MISSING, Company, Country, Deal, Employee

if TYPE_CHECKING:
    CompanyModelAdmin = admin.ModelAdmin[Company]
    CountryModelAdmin = admin.ModelAdmin[Country]
    DealModelAdmin = admin.ModelAdmin[Deal]
    EmployeeModelAdmin = admin.ModelAdmin[Employee]
    EmployeeTabularInline = admin.TabularInline[Employee, Company]
    DealTabularInline = admin.TabularInline[Deal, Company]
else:  # the admin's classes take no parameters when they run
    CompanyModelAdmin = CountryModelAdmin = DealModelAdmin = EmployeeModelAdmin = admin.ModelAdmin
    EmployeeTabularInline = DealTabularInline = admin.TabularInline


class CompanyForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        error_messages = {"name": {"required": NAME_MISSING}}


class MonitoredByMe(admin.SimpleListFilter):
    title = "monitored"
    parameter_name = "monitored"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [("me", "By me")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Company]) -> QuerySet[Company]:
        return queryset.filter(monitors=request.user.pk) if self.value() == "me" else queryset


class EmployeeInline(EmployeeTabularInline):
    model = Employee
    fields = ["name", "job_title", "gender", "email", "phone_number"]
    extra = 0
    show_change_link = True


class DealInline(DealTabularInline):
    model = Deal
    fields = ["date_of_deal", "amount_raised"]
    extra = 0
    show_change_link = True


@admin.register(Company)
class CompanyAdmin(CompanyModelAdmin):
    form = CompanyForm
    list_display = [
        "shown_name", "companies_house_id", "country_code", "date_founded", "creator",
        "employee_count", "deal_count", "total_raised",
    ]  # fmt: skip
    list_select_related = ["country", "creator"]
    list_filter = [MonitoredByMe, "date_founded", ("website", admin.EmptyFieldListFilter), "country"]
    search_fields = ["name", "companies_house_id", "website"]
    search_help_text = "Name, Companies House number or website"
    autocomplete_fields = ["country", "creator", "monitors"]
    readonly_fields = ["created", "modified"]
    inlines = [EmployeeInline, DealInline]
    show_full_result_count = False  # a second count of the whole register on every search
    fieldsets = [
        (None, {"fields": ["name", "companies_house_id", "website", "description", ("country", "date_founded")]}),
        ("Who", {"fields": ["creator", "monitors"]}),
        ("When", {"fields": [("created", "modified")]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Company]:
        return (
            super()
            .get_queryset(request)
            .annotate(
                employees_here=Coalesce(per_company(Employee, Count("*")), 0),
                deals_here=Coalesce(per_company(Deal, Count("*")), 0),
                raised_here=per_company(Deal, Sum("amount_raised")),
            )
        )

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"creator": request.user.pk, **super().get_changeform_initial_data(request)}

    @admin.display(description="name", ordering="name", empty_value=NO_NAME)
    def shown_name(self, company: Company) -> str:
        return company.name.strip()

    @admin.display(description="country", ordering="country__name")
    def country_code(self, company: Company) -> str | None:
        return company.country.iso_code if company.country else None

    @admin.display(description="employees")
    def employee_count(self, company: Any) -> int:
        return int(company.employees_here)

    @admin.display(description="deals")
    def deal_count(self, company: Any) -> int:
        return int(company.deals_here)

    @admin.display(description="total raised", empty_value="–")
    def total_raised(self, company: Any) -> str:
        return "" if company.raised_here is None else f"{company.raised_here:,.0f}"


@admin.register(Employee)
class EmployeeAdmin(EmployeeModelAdmin):
    list_display = ["__str__", "job_title", "company", "email", "phone_number"]
    list_select_related = ["company"]
    list_filter = ["gender"]
    search_fields = ["name", "email"]
    search_help_text = "Name or e-mail"
    autocomplete_fields = ["company"]
    readonly_fields = ["created", "modified"]
    show_full_result_count = False


@admin.register(Deal)
class DealAdmin(DealModelAdmin):
    list_display = ["__str__", "company", "date_of_deal", "amount_raised"]
    list_select_related = ["company"]
    list_filter = ["date_of_deal"]
    search_fields = ["company__name"]
    search_help_text = "Name of the company"
    autocomplete_fields = ["company"]
    readonly_fields = ["created", "modified"]
    show_full_result_count = False


@admin.register(Country)
class CountryAdmin(CountryModelAdmin):
    list_display = ["name", "iso_code"]
    search_fields = ["name", "iso_code"]
