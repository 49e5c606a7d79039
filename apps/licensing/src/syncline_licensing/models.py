"""Customers, products, who is licensed for what, and how that came about.

Customers and licences are written by messages only (see `writing`), products by people.
"""

from __future__ import annotations

from typing import Any, Final

from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models.functions import Now

LONGEST: Final = 200
CODE: Final = RegexValidator(
    r"\A[A-Za-z]\w{0,79}\Z", "A code begins with a letter and has letters, digits and _ only, such as SKU4."
)


class CurrentTransaction(models.Func):
    """The number of the transaction that writes the row; it never goes round."""

    template = "pg_current_xact_id()::text::bigint"
    output_field = models.BigIntegerField()


class Customer(models.Model):
    """As the last message told that was applied, which had this `sequence` and this id (`last_event`).

    `terms_since`: when the terms were signed, null while they are not. `flags`: name → true or false, of all messages so far,
    products that are not known yet included. `first_seen`, `last_seen`: when the first and the last message applied happened.
    """

    salesforce_id = models.CharField("Salesforce id", max_length=LONGEST, unique=True)
    name = models.CharField(max_length=LONGEST, blank=True, default="", db_default="")
    account_manager = models.CharField(max_length=LONGEST, blank=True, default="", db_default="")
    sales_engineer_id = models.CharField("sales engineer's id", max_length=LONGEST, blank=True, default="", db_default="")
    signed_tos = models.BooleanField("terms signed", default=False, db_default=False)
    terms_since = models.DateTimeField("terms signed since", null=True, blank=True)
    flags = models.JSONField(default=dict, db_default={}, blank=True)
    sequence = models.BigIntegerField(null=True, blank=True)
    last_event = models.TextField(blank=True, default="", db_default="")
    first_seen = models.DateTimeField(db_default=Now())
    last_seen = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name or self.salesforce_id


class Sku(models.Model):
    """A product. What messages have told of it takes effect as soon as it is here and active."""

    code = models.CharField(max_length=80, unique=True, validators=[CODE], help_text="As messages name it, such as SKU4.")
    name = models.CharField(max_length=LONGEST, blank=True, default="")
    active = models.BooleanField(default=True, help_text="Nobody is entitled to a product that is not active.")

    class Meta:
        ordering = ["code"]
        verbose_name = "SKU"

    def __str__(self) -> str:
        return f"{self.code} ({self.name})" if self.name else self.code

    def save(self, *args: Any, **kwargs: Any) -> None:
        from .services import hold_products, take_effect

        with transaction.atomic():
            hold_products()
            super().save(*args, **kwargs)
            take_effect([self])


class License(models.Model):
    """There is one as soon as a customer was licensed once. `since`: of its present or last time; `until`: null while active."""

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="licenses", db_index=False)
    sku = models.ForeignKey(Sku, models.PROTECT, related_name="licenses", verbose_name="SKU")
    active = models.BooleanField()
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True)
    last_event = models.TextField(blank=True, default="", db_default="")

    class Meta:
        ordering = ["id"]
        verbose_name = "licence"
        constraints = [models.UniqueConstraint(fields=["customer", "sku"], name="licensing_one_per_product")]

    def __str__(self) -> str:
        return f"licence {self.pk}"


class LicenseChange(models.Model):
    """A licence began or ended; without a product: the terms were signed, or hold no more. Written once, never changed.

    `tx`: the transaction that wrote it. Ids are given out in another order than transactions end in, so whoever reads on from
    where he was goes by `tx` and id, up to the oldest transaction that still runs. The database does not check customer and
    product of each row: whoever writes one holds the customer, and of each product it has the licence, which is checked.
    """

    id = models.BigAutoField(primary_key=True)
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="changes", db_index=False, db_constraint=False)
    sku = models.ForeignKey(
        Sku,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="changes",
        verbose_name="SKU",
        db_index=False,
        db_constraint=False,
    )
    active = models.BooleanField()
    at = models.DateTimeField()
    sequence = models.BigIntegerField(null=True, blank=True)
    event = models.TextField(blank=True, default="", db_default="")
    tx = models.BigIntegerField(db_default=CurrentTransaction(), editable=False)

    class Meta:
        ordering = ["id"]
        verbose_name = "change of licences"
        verbose_name_plural = "changes of licences"
        indexes = [
            models.Index(fields=["tx", "id"], name="licensing_change_order"),
            models.Index(fields=["customer", "id"], name="licensing_change_customer"),
        ]

    def __str__(self) -> str:
        return f"change {self.pk}"


class UnknownSku(models.Model):
    """A product that messages name and that is not here. `count`: how often a customer's message told something new of it."""

    code = models.CharField(max_length=80, unique=True)
    count = models.BigIntegerField(default=0)
    first_seen = models.DateTimeField(db_default=Now())
    last_seen = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-last_seen"]
        verbose_name = "unknown SKU"

    def __str__(self) -> str:
        return self.code
