"""The register's API, mounted by the host below /api/v1/companies/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.db.models import Count, Exists, Max, OuterRef, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control
from django_filters import rest_framework as filters  # type: ignore[import-untyped]
from drf_spectacular.utils import extend_schema
from rest_framework import generics, mixins, pagination, permissions, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from . import services
from .datasets import per_company
from .models import Company, Deal, Employee
from .pages import StatisticsPage
from .serializers import CompanySerializer, StatisticsSerializer

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    CompanyView = generics.GenericAPIView[Company]
else:
    CompanyView = generics.GenericAPIView

Monitor = Company.monitors.through


class CompanyPages(pagination.CursorPagination):
    """By key, so that the last page of a large register costs what the first one does."""

    ordering = "id"
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 500


class CompanyFilter(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter(lookup_expr="icontains", label="Part of the name")
    country = filters.CharFilter("country__iso_code", lookup_expr="iexact", label="ISO code of the country")
    companies_house_id = filters.CharFilter(lookup_expr="exact", label="Companies House number")
    founded_from = filters.DateFilter("date_founded", lookup_expr="gte", label="Founded on this day or later")
    founded_to = filters.DateFilter("date_founded", lookup_expr="lte", label="Founded on this day or earlier")
    has_website = filters.BooleanFilter("website", lookup_expr="exact", method="by_website", label="Has a website")

    class Meta:
        model = Company
        fields: list[str] = []

    def by_website(self, companies: QuerySet[Company], _name: str, value: bool) -> QuerySet[Company]:
        return companies.exclude(website="") if value else companies.filter(website="")


class CompanyReading(CompanyView):
    """What every list of companies shares. Anybody who is logged in may read the register."""

    permission_classes = [permissions.IsAuthenticated]
    serializer_class = CompanySerializer
    pagination_class = CompanyPages
    filter_backends = [filters.DjangoFilterBackend]
    filterset_class = CompanyFilter
    queryset = Company.objects.select_related("country").annotate(
        total_raised=per_company(Deal, Sum("amount_raised")),
        deal_count=Coalesce(per_company(Deal, Count("*")), 0),
        last_deal_date=per_company(Deal, Max("date_of_deal")),
        employee_count=Coalesce(per_company(Employee, Count("*")), 0),
    )

    def get_queryset(self) -> QuerySet[Company]:
        mine = Monitor._default_manager.filter(company=OuterRef("pk"), user=self.request.user.pk)
        return super().get_queryset().annotate(monitored=Exists(mine))


class CompanyViewSet(viewsets.ViewSetMixin, mixins.ListModelMixin, mixins.RetrieveModelMixin, CompanyReading):
    """Companies of the register."""

    @extend_schema(request=None, responses={204: None}, description="Monitor the company from now on; twice is once.")
    @action(detail=True, methods=["post"])
    def monitor(self, request: Request, **_pk: str) -> Response:
        services.monitor(self.get_object(), cast("User", request.user))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses={204: None}, description="Monitor the company no longer.")
    @monitor.mapping.delete
    def unmonitor(self, request: Request, **_pk: str) -> Response:
        services.unmonitor(self.get_object(), cast("User", request.user))
        return Response(status=status.HTTP_204_NO_CONTENT)


class MonitoredView(mixins.ListModelMixin, CompanyReading):
    def get_queryset(self) -> QuerySet[Company]:
        return super().get_queryset().filter(monitors=self.request.user.pk)

    @extend_schema(operation_id="companies_monitored_list", description="The companies that you monitor.")
    def get(self, request: Request) -> Response:
        return self.list(request)


@method_decorator(cache_control(public=True, max_age=60), name="dispatch")
class StatisticsView(APIView):
    """Public: it looks at no credentials, so an expired token does not shut anybody out."""

    authentication_classes: list[Any] = []
    permission_classes = [permissions.AllowAny]

    @extend_schema(responses=StatisticsSerializer, description="The register in figures.", auth=[])
    def get(self, _request: Request) -> Response:
        return Response(StatisticsSerializer(services.statistics()).data)


_router = SimpleRouter()
_router.register("companies", CompanyViewSet, basename="companies-company")
urlpatterns = [
    *_router.urls,
    path("monitored/", MonitoredView.as_view(), name="companies-monitored"),
    path("statistics/", StatisticsView.as_view(), name="companies-statistics"),
    path("statistics/page/", StatisticsPage.as_view(), name="companies-statistics-page"),
]
