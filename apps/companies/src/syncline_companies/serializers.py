"""The shapes of the API's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from .models import Company

if TYPE_CHECKING:
    CompanyModelSerializer = serializers.ModelSerializer[Company]
    PlainSerializer = serializers.Serializer[Any]
else:
    CompanyModelSerializer, PlainSerializer = serializers.ModelSerializer, serializers.Serializer


class CompanySerializer(CompanyModelSerializer):
    """A company with its figures. Who entered or monitors it is not told; `monitored`: by the one who asks."""

    country = serializers.CharField(source="country.iso_code", default=None, help_text="ISO code")
    country_name = serializers.CharField(source="country.name", default=None)
    total_raised = serializers.DecimalField(max_digits=20, decimal_places=2, allow_null=True)
    deal_count = serializers.IntegerField()
    last_deal_date = serializers.DateField(allow_null=True)
    employee_count = serializers.IntegerField()
    monitored = serializers.BooleanField()

    class Meta:
        model = Company
        fields = [
            "id", "name", "companies_house_id", "description", "date_founded", "country", "country_name", "website", "created",
            "modified", "total_raised", "deal_count", "last_deal_date", "employee_count", "monitored",
        ]  # fmt: skip
        read_only_fields = fields


class FoundedCompanySerializer(PlainSerializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    date_founded = serializers.DateField()
    country = serializers.CharField(allow_null=True)


class QuarterSerializer(PlainSerializer):
    quarter = serializers.CharField(source="label", help_text="Such as 2026 Q1")
    start = serializers.DateField()
    companies = serializers.IntegerField()


class CreatorSerializer(PlainSerializer):
    name = serializers.CharField()
    count = serializers.IntegerField()


class RaisedSerializer(PlainSerializer):
    iso_code = serializers.CharField(help_text="Empty for companies without a country")
    country = serializers.CharField()
    companies = serializers.IntegerField()
    deals = serializers.IntegerField()
    total = serializers.DecimalField(max_digits=20, decimal_places=2)
    average = serializers.FloatField(help_text="Per company, counting those that raised nothing")
    average_deal = serializers.FloatField(allow_null=True, help_text="Per deal")


class StatisticsSerializer(PlainSerializer):
    companies = serializers.IntegerField()
    employees = serializers.IntegerField()
    average_employees = serializers.FloatField(allow_null=True, help_text="Per company, counting those with none")
    recently_founded = FoundedCompanySerializer(many=True)
    founded_per_quarter = QuarterSerializer(many=True, help_text="The running quarter and the nineteen before it")
    top_creator = CreatorSerializer(allow_null=True, help_text="Who entered most companies")
    creator_with_most_employees = CreatorSerializer(allow_null=True, help_text="Whose companies have most employees")
    raised_by_country = RaisedSerializer(many=True)
