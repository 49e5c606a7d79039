"""The API, mounted by the host at /api/v1/ itself: other applications ask whether a customer may use a product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from django_filters import rest_framework as filters  # type: ignore[import-untyped]
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, generics, pagination, permissions, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from . import changes, services
from .cache import Answers
from .models import Customer, License
from .serializers import (
    ChangesSerializer,
    CustomerSerializer,
    EntitlementSerializer,
    LicenseSerializer,
    LicensesSerializer,
)

if TYPE_CHECKING:
    CustomerListView = generics.ListAPIView[Customer]
    LicenseListView = generics.ListAPIView[License]
else:
    CustomerListView = LicenseListView = generics.ListAPIView

answers: Final = Answers()
LONGEST_CHANGES: Final = 1000


class MayRead(permissions.BasePermission):
    """Licences are what a company sells to whom: not for everybody who can log in."""

    permission = "licensing.view_license"
    message = f"This takes the permission {permission}. Ask an administrator for it."

    def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ARG002
        return request.user.has_perm(self.permission)


class GoneError(exceptions.APIException):
    status_code = status.HTTP_410_GONE
    default_detail = "This cursor is from before the database was restored. Begin anew, without a cursor."


class Pages(pagination.CursorPagination):
    """By key, so that the last page costs what the first one does."""

    ordering = "id"
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 500

    def decode_cursor(self, request: Request) -> pagination.Cursor | None:
        """A page of the list begins at a key; the cursor of another list, or one made up, is none of it."""
        found: pagination.Cursor | None = super().decode_cursor(request)
        if found is not None and not str(found.position or 0).isdecimal():
            raise exceptions.NotFound(self.invalid_cursor_message)
        return found


class CustomerFilter(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter(lookup_expr="icontains", label="Part of the name")
    account_manager = filters.CharFilter(lookup_expr="iexact", label="The account manager's name")
    signed_tos = filters.BooleanFilter(label="Whether the terms are signed")
    sku = filters.CharFilter(method="by_sku", label="Holds an active licence for the product with this code")

    class Meta:
        model = Customer
        fields: list[str] = []

    def by_sku(self, customers: QuerySet[Customer], _name: str, code: str) -> QuerySet[Customer]:
        return customers.filter(pk__in=License.objects.filter(sku__code=code, active=True).values("customer"))


class LicenseFilter(filters.FilterSet):  # type: ignore[misc]
    customer = filters.CharFilter("customer__salesforce_id", label="Salesforce id of the customer")
    sku = filters.CharFilter("sku__code", label="Code of the product")
    active = filters.BooleanFilter(label="Whether it is active")
    since = filters.IsoDateTimeFilter("since", lookup_expr="gte", label="Began at this moment or later")

    class Meta:
        model = License
        fields: list[str] = []


class CustomersView(CustomerListView):
    """The customers that messages told of."""

    permission_classes = [MayRead]
    serializer_class = CustomerSerializer
    pagination_class = Pages
    filter_backends = [filters.DjangoFilterBackend]
    filterset_class = CustomerFilter
    queryset = Customer.objects.defer("flags")


class LicensesView(LicenseListView):
    """Licences of all customers, ended ones too."""

    permission_classes = [MayRead]
    serializer_class = LicenseSerializer
    pagination_class = Pages
    filter_backends = [filters.DjangoFilterBackend]
    filterset_class = LicenseFilter
    queryset = License.objects.select_related("customer", "sku").defer("customer__flags")


class CustomerLicensesView(APIView):
    permission_classes = [MayRead]

    @extend_schema(
        operation_id="customer_licenses", responses=LicensesSerializer, description="What the customer is and was licensed for."
    )
    def get(self, _request: Request, salesforce_id: str) -> Response:
        customer = get_object_or_404(Customer.objects.defer("flags"), salesforce_id=salesforce_id)
        held = customer.licenses.select_related("customer", "sku").order_by("sku__code")
        return Response(LicensesSerializer({"customer": customer, "licenses": held}).data)


class EntitlementView(APIView):
    """Asked for by every request of other applications: answered from memory while the answer is young enough."""

    permission_classes = [MayRead]

    @extend_schema(
        operation_id="entitlement",
        parameters=[
            OpenApiParameter("customer", OpenApiTypes.STR, required=True, description="Salesforce id"),
            OpenApiParameter("sku", OpenApiTypes.STR, required=True, description="Code of the product"),
        ],
        responses=EntitlementSerializer,
        description="Whether the customer may use the product, since when, or why not. An unknown customer may not.",
    )
    def get(self, request: Request) -> HttpResponse:
        asked = request.query_params
        customer, sku = asked.get("customer", "").strip(), asked.get("sku", "").strip()
        if not (customer and sku):
            raise exceptions.ValidationError({"detail": "Give both: ?customer=<Salesforce id>&sku=<code of the product>."})
        body = answers.get((customer, sku), lambda: _rendered(customer, sku))
        return HttpResponse(body, content_type="application/json")


def _rendered(customer: str, sku: str) -> bytes:
    return orjson.dumps(services.as_json(services.entitlement(customer, sku)), option=orjson.OPT_UTC_Z)


class ChangesView(APIView):
    permission_classes = [MayRead]

    @extend_schema(
        operation_id="license_changes",
        parameters=[
            OpenApiParameter("cursor", OpenApiTypes.STR, description="Of the answer before; none: from the beginning"),
            OpenApiParameter("limit", OpenApiTypes.INT, description=f"At most so many, 100 unless told, up to {LONGEST_CHANGES}"),
        ],
        responses={200: ChangesSerializer, 410: None},
        description="Licences that began or ended, and terms signed or no more, in an order in which none is passed over.",
    )
    def get(self, request: Request) -> Response:
        most = _limit(request.query_params.get("limit", "100"))
        cursor = _cursor(request.query_params.get("cursor", ""))
        try:
            found = changes.since(cursor, most + 1)
        except changes.OtherDatabase:
            raise GoneError from None
        page = found[:most]
        told = {"results": page, "cursor": str(page[-1].cursor if page else cursor), "more": len(found) > most}
        return Response(ChangesSerializer(told).data)


def _limit(given: str) -> int:
    if not (given.isascii() and given.isdecimal() and len(given) < 9 and int(given)):
        raise exceptions.ValidationError({"limit": f"A number from 1 to {LONGEST_CHANGES}."})
    return min(int(given), LONGEST_CHANGES)


def _cursor(given: str) -> changes.Cursor:
    try:
        return changes.read_cursor(given) if given else changes.Cursor()
    except changes.NoCursor:
        raise exceptions.ValidationError({"cursor": "Not a cursor of this list. Give the one of the answer before."}) from None


urlpatterns = [
    path("customers", CustomersView.as_view(), name="licensing-customers"),
    path("customers/<str:salesforce_id>/licenses", CustomerLicensesView.as_view(), name="licensing-customer-licenses"),
    path("licenses", LicensesView.as_view(), name="licensing-licenses"),
    path("licenses/changes", ChangesView.as_view(), name="licensing-changes"),
    path("entitlements", EntitlementView.as_view(), name="licensing-entitlement"),
]
