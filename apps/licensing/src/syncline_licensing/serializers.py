"""The shapes of the API's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from .models import Customer, License
from .services import Reason

if TYPE_CHECKING:
    CustomerModelSerializer = serializers.ModelSerializer[Customer]
    LicenseModelSerializer = serializers.ModelSerializer[License]
    PlainSerializer = serializers.Serializer[Any]
else:
    CustomerModelSerializer = LicenseModelSerializer = serializers.ModelSerializer
    PlainSerializer = serializers.Serializer


class CustomerSerializer(CustomerModelSerializer):
    class Meta:
        model = Customer
        fields = [
            "salesforce_id", "name", "account_manager", "sales_engineer_id", "signed_tos", "terms_since",
            "first_seen", "last_seen",
        ]  # fmt: skip
        read_only_fields = fields


class LicenseSerializer(LicenseModelSerializer):
    """`entitled`: active, the product too, and the customer has signed the terms."""

    customer = serializers.CharField(source="customer.salesforce_id")
    sku = serializers.CharField(source="sku.code")
    product = serializers.CharField(source="sku.name")
    entitled = serializers.SerializerMethodField()

    class Meta:
        model = License
        fields = ["customer", "sku", "product", "active", "since", "until", "entitled"]
        read_only_fields = fields

    def get_entitled(self, held: License) -> bool:
        return held.active and held.sku.active and held.customer.signed_tos


class LicensesSerializer(PlainSerializer):
    customer = CustomerSerializer()
    licenses = LicenseSerializer(many=True)


class EntitlementSerializer(PlainSerializer):
    customer = serializers.CharField()
    sku = serializers.CharField()
    entitled = serializers.BooleanField()
    since = serializers.DateTimeField(allow_null=True, help_text="From when on; null when not entitled")
    until = serializers.DateTimeField(allow_null=True, help_text="When a licence that is over ended")
    reason = serializers.ChoiceField(
        [reason.value for reason in Reason], allow_null=True, help_text="Why not; null when entitled"
    )
    explanation = serializers.CharField(help_text="The reason as a sentence")


class ChangeSerializer(PlainSerializer):
    customer = serializers.CharField()
    sku = serializers.CharField(allow_null=True, help_text="Null when the terms were signed, or hold no more")
    active = serializers.BooleanField(help_text="Whether it began or ended")
    at = serializers.DateTimeField()
    event = serializers.CharField(help_text="The message that told it")


class ChangesSerializer(PlainSerializer):
    results = ChangeSerializer(many=True)
    cursor = serializers.CharField(help_text="Ask with it for what comes after these")
    more = serializers.BooleanField(help_text="Whether there is more already")
