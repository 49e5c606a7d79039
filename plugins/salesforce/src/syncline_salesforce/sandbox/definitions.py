"""What the sandbox's account offers: some of Salesforce's own objects, and one that people made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

KEY = "Syncline_Key__c"


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: str = "string"
    length: int = 0
    writable: bool = True
    required: bool = False
    unique: bool = False
    values: tuple[str, ...] = ()
    restricted: bool = False
    to: str = ""

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "label": self.name.removesuffix("__c").replace("_", " "),
            "type": self.type,
            "length": self.length,
            "nillable": not self.required and self.type not in ("boolean", "id"),
            "defaultedOnCreate": not self.writable or self.type == "boolean",
            "createable": self.writable,
            "updateable": self.writable,
            "calculated": False,
            "custom": self.name.endswith("__c"),
            "unique": self.unique,
            "externalId": self.unique,
            "idLookup": self.unique or self.name in ("Id", "Name", "Email"),
            "restrictedPicklist": self.restricted,
            "picklistValues": [{"value": one, "label": one, "active": True, "defaultValue": False} for one in self.values],
            "referenceTo": [self.to] if self.to else [],
        }


@dataclass(frozen=True, slots=True)
class ObjectDef:
    name: str
    prefix: str
    fields: dict[str, Field] = field(hash=False)
    layout: bool = True

    def listed(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "label": self.name.removesuffix("__c"),
            "labelPlural": f"{self.name.removesuffix('__c')}s",
            "keyPrefix": self.prefix,
            "custom": self.name.endswith("__c"),
            "customSetting": False,
            "deprecatedAndHidden": False,
            "layoutable": self.layout,
            **dict.fromkeys(("queryable", "retrieveable", "createable", "updateable", "deletable"), True),
        }

    def describe(self) -> dict[str, Any]:
        return {**self.listed(), "fields": [one.describe() for one in self.fields.values()]}


def _object(name: str, prefix: str, fields: Iterable[Field], *, layout: bool = True) -> ObjectDef:
    system = (
        Field("Id", "id", 18, writable=False),
        Field("IsDeleted", "boolean", writable=False),
        *(Field(stamp, "datetime", writable=False) for stamp in ("CreatedDate", "LastModifiedDate", "SystemModstamp")),
    )
    return ObjectDef(name, prefix, {one.name: one for one in (*system, *fields)}, layout)


OWN = Field(KEY, length=255, unique=True)
MASTER = Field("MasterRecordId", "reference", 18, writable=False, to="Account")
INDUSTRIES = ("Agriculture", "Banking", "Energy", "Technology")
ACCOUNT = (
    MASTER,
    OWN,
    Field("Name", length=255, required=True),
    Field("Website", "url", 255),
    Field("Phone", "phone", 40),
    Field("Contact_Email__c", "email", 80),
    Field("Industry", "picklist", 255, values=INDUSTRIES, restricted=True),
    Field("Rating", "picklist", 255, values=("Hot", "Warm", "Cold")),
    Field("NumberOfEmployees", "int"),
    Field("AnnualRevenue", "currency"),
    Field("Founded__c", "date"),
    Field("Last_Call__c", "datetime"),
    Field("Interests__c", "multipicklist", 4099, values=("Cloud", "Hardware", "Support")),
    Field("Description", "textarea", 32000),
    Field("ParentId", "reference", 18, to="Account"),
    Field("BillingCountry", length=80),
    Field("BillingAddress", "address", writable=False),
)
CONTACT = (
    MASTER,
    OWN,
    Field("LastName", length=80, required=True),
    Field("FirstName", length=40),
    Field("Email", "email", 80),
    Field("Phone", "phone", 40),
    Field("Title", length=128),
    Field("Birthdate", "date"),
    Field("HasOptedOutOfEmail", "boolean"),
    Field("AccountId", "reference", 18, to="Account"),
)
CUSTOMER = (
    Field("Name", length=80, required=True),
    Field("Customer_Id__c", length=36, unique=True),
    Field("SignedTos__c", "boolean"),
    *(Field(f"SKU{number}__c", "boolean") for number in (1, 2, 3)),
)
ORGANIZATION = (
    Field("Name", length=80),
    Field("OrganizationType"),
    Field("InstanceName"),
    Field("IsSandbox", "boolean"),
)


def definitions() -> dict[str, ObjectDef]:
    made = (
        _object("Account", "001", ACCOUNT),
        _object("Contact", "003", CONTACT),
        _object("Customer__c", "a00", CUSTOMER),
        _object("Organization", "00D", ORGANIZATION, layout=False),
        _object("AccountHistory", "017", (), layout=False),
    )
    return {one.name: one for one in made}
