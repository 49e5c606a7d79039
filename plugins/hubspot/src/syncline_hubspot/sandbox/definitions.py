"""The property definitions a new sandbox account starts with: the usual ones of a real account, in a compact table.

One line per property: `name|Label|type|fieldType|group|flags|choices`. Flags: `r` only HubSpot writes the value, `c` calculated,
`u` unique, `x` choices come from elsewhere. Choices are `value` or `value=Label`, separated by commas. Names, types and read-only
flags are those of real accounts; labels and descriptions are our own words.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .wire import Json

_EPOCH = "1970-01-01T00:00:00Z"

_LIFECYCLE = (
    "subscriber,lead,marketingqualifiedlead=Marketing Qualified Lead,salesqualifiedlead=Sales Qualified Lead,"
    "opportunity,customer,evangelist,other"
)
_LEAD_STATUS = "NEW,OPEN,IN_PROGRESS,OPEN_DEAL,UNQUALIFIED,ATTEMPTED_TO_CONTACT,CONNECTED,BAD_TIMING"
_SOURCES = (
    "ORGANIC_SEARCH,PAID_SEARCH,EMAIL_MARKETING,SOCIAL_MEDIA=Organic Social,REFERRALS,OTHER_CAMPAIGNS,DIRECT_TRAFFIC,"
    "OFFLINE=Offline Sources,PAID_SOCIAL"
)
_INDUSTRIES = (
    "ACCOUNTING,AIRLINES_AVIATION,ARCHITECTURE_PLANNING,AUTOMOTIVE,BANKING,BIOTECHNOLOGY,BUILDING_MATERIALS,CAPITAL_MARKETS,CHEMICALS,"
    "CIVIL_ENGINEERING,COMMERCIAL_REAL_ESTATE,COMPUTER_NETWORK_SECURITY,COMPUTER_GAMES,COMPUTER_HARDWARE,COMPUTER_SOFTWARE,CONSTRUCTION,"
    "CONSUMER_ELECTRONICS,CONSUMER_GOODS,CONSUMER_SERVICES,DEFENSE_SPACE,DESIGN,E_LEARNING,EDUCATION_MANAGEMENT,ENTERTAINMENT,"
    "ENVIRONMENTAL_SERVICES,FARMING,FINANCIAL_SERVICES,FOOD_BEVERAGES,FURNITURE,GOVERNMENT_ADMINISTRATION,HEALTH_WELLNESS_AND_FITNESS,"
    "HIGHER_EDUCATION,HOSPITAL_HEALTH_CARE,HOSPITALITY,HUMAN_RESOURCES,INFORMATION_TECHNOLOGY_AND_SERVICES,INSURANCE,INTERNET,"
    "INVESTMENT_MANAGEMENT,LAW_PRACTICE,LEGAL_SERVICES,LOGISTICS_AND_SUPPLY_CHAIN,MACHINERY,MANAGEMENT_CONSULTING,MARKETING_AND_ADVERTISING,"
    "MEDIA_PRODUCTION,MEDICAL_DEVICES,NON_PROFIT_ORGANIZATION_MANAGEMENT,OIL_ENERGY,PHARMACEUTICALS,PUBLISHING,REAL_ESTATE,"
    "RENEWABLES_ENVIRONMENT,RESEARCH,RESTAURANTS,RETAIL,SEMICONDUCTORS,STAFFING_AND_RECRUITING,TELECOMMUNICATIONS,"
    "TRANSPORTATION_TRUCKING_RAILROAD,UTILITIES,VENTURE_CAPITAL_PRIVATE_EQUITY,WHOLESALE"
)

_EVERY_TYPE = """
hs_object_id|Record ID|number|number|{group}|r
hs_createdate|Object create date/time|datetime|date|{group}|r
hs_lastmodifieddate|Last Modified Date|datetime|date|{group}|r
hs_merged_object_ids|Merged record IDs|enumeration|checkbox|{group}|rx
hs_object_source|Record creation source|string|text|{group}|r
hs_object_source_id|Record creation source ID|string|text|{group}|r
hs_object_source_label|Record source|enumeration|select|{group}|rx
hs_object_source_user_id|Record creation source user ID|number|number|{group}|r
hs_created_by_user_id|Created by user ID|number|number|{group}|r
hs_updated_by_user_id|Updated by user ID|number|number|{group}|r
hs_all_owner_ids|All owner IDs|enumeration|select|{group}|rx
hs_unique_creation_key|Unique creation key|string|text|{group}|ru
hs_read_only|Read only object|bool|booleancheckbox|{group}|r|true=True,false=False
hs_was_imported|Performed in an import|bool|booleancheckbox|{group}|r|true=True,false=False
hubspot_owner_id|Owner|enumeration|select|sales_properties|x
hubspot_owner_assigneddate|Owner assigned date|datetime|date|sales_properties|r
hubspot_team_id|HubSpot team|enumeration|select|sales_properties|rx
notes_last_contacted|Last contacted|datetime|date|{activity}|r
notes_last_updated|Last activity date|datetime|date|{activity}|r
num_notes|Number of sales activities|number|number|{group}|r
"""

_COMPANIES = f"""
name|Company name|string|text|companyinformation|
domain|Company Domain Name|string|text|companyinformation|
hs_additional_domains|Additional domains|enumeration|checkbox|companyinformation|x
website|Website URL|string|text|companyinformation|
phone|Phone Number|string|phonenumber|companyinformation|
address|Street Address|string|text|companyinformation|
address2|Street Address 2|string|text|companyinformation|
city|City|string|text|companyinformation|
state|State/Region|string|text|companyinformation|
zip|Postal Code|string|text|companyinformation|
country|Country/Region|string|text|companyinformation|
timezone|Time Zone|string|text|companyinformation|
industry|Industry|enumeration|select|companyinformation||{_INDUSTRIES}
type|Type|enumeration|radio|companyinformation||PROSPECT,PARTNER,RESELLER,VENDOR,OTHER
description|Description|string|textarea|companyinformation|
about_us|About Us|string|text|companyinformation|
founded_year|Year Founded|string|text|companyinformation|
numberofemployees|Number of Employees|number|number|companyinformation|
annualrevenue|Annual Revenue|number|number|companyinformation|
total_money_raised|Total Money Raised|string|text|companyinformation|
is_public|Is Public|bool|booleancheckbox|companyinformation||true=True,false=False
closedate|Close Date|datetime|date|companyinformation|
createdate|Create Date|datetime|date|companyinformation|r
lifecyclestage|Lifecycle Stage|enumeration|radio|companyinformation||{_LIFECYCLE}
hs_lead_status|Lead Status|enumeration|radio|sales_properties||{_LEAD_STATUS}
hs_pipeline|Pipeline|enumeration|select|companyinformation|x
hs_task_label|Task label|string|calculation_equation|companyinformation|rc
hs_num_child_companies|Number of child companies|number|number|companyinformation|r
hs_parent_company_id|Parent Company|number|number|companyinformation|r
hs_num_open_deals|Number of open deals|number|number|deal_information|r
hs_num_decision_makers|Number of decision makers|number|number|companyinformation|r
hs_num_blockers|Number of blockers|number|number|companyinformation|r
num_associated_contacts|Number of Associated Contacts|number|calculation_rollup|companyinformation|r
num_associated_deals|Number of Associated Deals|number|calculation_rollup|deal_information|r
recent_deal_amount|Recent Deal Amount|number|number|deal_information|r
total_revenue|Total Revenue|number|calculation_rollup|deal_information|r
hs_analytics_source|Original Traffic Source|enumeration|select|companyinformation||{_SOURCES}
hs_annual_revenue_currency_code|Annual Revenue Currency Code|string|calculation_equation|companyinformation|rc
hs_country_code|Country/Region Code|string|text|companyinformation|
hs_employee_range|Employee range|string|text|companyinformation|
hs_linkedin_handle|LinkedIn handle|string|text|companyinformation|
linkedin_company_page|LinkedIn Company Page|string|text|socialmediainformation|
twitterhandle|Twitter Handle|string|text|socialmediainformation|
facebook_company_page|Facebook Company Page|string|text|socialmediainformation|
hs_is_target_account|Target Account|bool|booleancheckbox|companyinformation||true=True,false=False
web_technologies|Web Technologies|enumeration|checkbox|companyinformation||google_analytics,wordpress,shopify,salesforce,hubspot
"""

_CONTACTS = f"""
email|Email|string|text|contactinformation|
hs_additional_emails|Additional email addresses|enumeration|checkbox|contactinformation|rx
hs_email_domain|Email Domain|string|text|contactinformation|r
firstname|First Name|string|text|contactinformation|
lastname|Last Name|string|text|contactinformation|
salutation|Salutation|string|text|contactinformation|
hs_full_name_or_email|Full name or email|string|calculation_equation|contactinformation|rc
jobtitle|Job Title|string|text|contactinformation|
job_function|Job function|string|text|contactinformation|
hs_seniority|Seniority|enumeration|select|contactinformation||vp=VP,director,entry,executive,manager,owner,partner,senior,employee
seniority|Seniority (text)|string|text|contactinformation|
gender|Gender|string|text|contactinformation|
date_of_birth|Date of birth|string|text|contactinformation|
company|Company Name|string|text|contactinformation|
associatedcompanyid|Primary Associated Company ID|number|number|contactinformation|
company_size|Company size|string|text|contactinformation|
numemployees|Number of Employees|enumeration|select|contactinformation||1-5,5-25,25-50,50-100,100-500,500-1000,1000+
industry|Industry|string|text|contactinformation|
phone|Phone Number|string|phonenumber|contactinformation|
mobilephone|Mobile Phone Number|string|phonenumber|contactinformation|
fax|Fax Number|string|phonenumber|contactinformation|
hs_whatsapp_phone_number|WhatsApp Phone Number|string|phonenumber|contactinformation|
address|Street Address|string|text|contactinformation|
city|City|string|text|contactinformation|
state|State/Region|string|text|contactinformation|
zip|Postal Code|string|text|contactinformation|
country|Country/Region|string|text|contactinformation|
hs_country_region_code|Country/Region Code|string|text|contactinformation|
hs_language|Preferred language|enumeration|select|contactinformation||en=English,de=German,fr=French,es=Spanish,it=Italian
website|Website URL|string|text|contactinformation|
annualrevenue|Annual Revenue|string|text|contactinformation|
message|Message|string|textarea|contact_activity|
createdate|Create Date|datetime|date|contactinformation|r
lastmodifieddate|Last Modified Date|datetime|date|contactinformation|r
closedate|Close Date|datetime|date|deal_information|
lifecyclestage|Lifecycle Stage|enumeration|radio|contactinformation||{_LIFECYCLE}
hs_lead_status|Lead Status|enumeration|radio|sales_properties||{_LEAD_STATUS}
hs_pipeline|Pipeline|enumeration|select|contactinformation|x
hs_all_contact_vids|Merged contact IDs|enumeration|checkbox|contactinformation|rx
hs_is_contact|Is a contact|bool|calculation_read_time|contactinformation|rc|true=True,false=False
hs_is_unworked|Contact unworked|bool|calculation_equation|sales_properties|r|true=True,false=False
hs_email_optout|Unsubscribed from all email|bool|booleancheckbox|emailinformation|r|true=True,false=False
hs_analytics_source|Original Traffic Source|enumeration|select|analyticsinformation||{_SOURCES}
hs_linkedin_url|LinkedIn URL|string|text|socialmediainformation|
twitterhandle|Twitter Username|string|text|socialmediainformation|
num_associated_deals|Number of Associated Deals|number|number|deal_information|r
"""

_DEALS = """
dealname|Deal Name|string|text|dealinformation|
amount|Amount|number|number|dealinformation|
dealstage|Deal Stage|enumeration|radio|dealinformation|x
pipeline|Pipeline|enumeration|select|dealinformation|x
closedate|Close Date|datetime|date|dealinformation|
createdate|Create Date|datetime|date|dealinformation|r
dealtype|Deal Type|enumeration|radio|dealinformation||newbusiness=New Business,existingbusiness=Existing Business
description|Deal Description|string|textarea|dealinformation|
deal_currency_code|Currency|enumeration|select|dealinformation||GBP,EUR,USD
amount_in_home_currency|Amount in company currency|number|calculation_equation|dealinformation|rc
days_to_close|Days to close|number|calculation_equation|dealinformation|rc
hs_deal_stage_probability|Deal probability|number|number|dealinformation|r
hs_is_closed|Is Deal Closed?|bool|calculation_equation|dealinformation|rc|true=True,false=False
hs_is_closed_won|Is Closed Won|bool|calculation_equation|dealinformation|rc|true=True,false=False
hs_priority|Priority|enumeration|select|dealinformation||low,medium,high
hs_next_step|Next step|string|text|dealinformation|
closed_lost_reason|Closed Lost Reason|string|textarea|dealinformation|
closed_won_reason|Closed Won Reason|string|textarea|dealinformation|
hs_forecast_amount|Forecast amount|number|number|dealinformation|
hs_tcv|Total contract value|number|number|dealinformation|
hs_acv|Annual contract value|number|number|dealinformation|
hs_arr|Annual recurring revenue|number|number|dealinformation|
hs_mrr|Monthly recurring revenue|number|number|dealinformation|
hs_projected_amount|Weighted amount|number|calculation_equation|dealinformation|rc
num_associated_contacts|Number of Associated Contacts|number|number|dealinformation|r
"""

_TICKETS = """
subject|Ticket name|string|text|ticketinformation|
content|Ticket description|string|textarea|ticketinformation|
hs_pipeline|Pipeline|enumeration|select|ticketinformation|x
hs_pipeline_stage|Ticket status|enumeration|select|ticketinformation|x
hs_ticket_priority|Priority|enumeration|select|ticketinformation||LOW,MEDIUM,HIGH,URGENT
hs_ticket_category|Category|enumeration|checkbox|ticketinformation||PRODUCT_ISSUE,BILLING_ISSUE,FEATURE_REQUEST,GENERAL_INQUIRY
createdate|Create date|datetime|date|ticketinformation|r
closed_date|Close date|datetime|date|ticketinformation|r
"""

_TABLES = {"companies": _COMPANIES, "contacts": _CONTACTS, "deals": _DEALS, "tickets": _TICKETS}
_GROUPS = {"companies": "company", "contacts": "contact", "deals": "deal", "tickets": "ticket"}
_INFORMATION = {name: f"{word}information" for name, word in _GROUPS.items()}


def default_definitions(object_type: str) -> list[Json]:
    """Fresh copies, so that one account's changes do not reach another."""
    return [_copied(definition) for definition in _built(object_type)]


@cache
def _built(object_type: str) -> tuple[Json, ...]:
    word = _GROUPS.get(object_type, object_type)
    information = _INFORMATION.get(object_type, f"{object_type}_information")
    common = _EVERY_TYPE.format(group=information, activity=f"{word}_activity")
    own = _TABLES.get(object_type, f"hs_pipeline|Pipeline|enumeration|select|{information}|x\n")
    lines = [line for line in (own + common).splitlines() if line]
    return tuple(_from_line(line) for line in lines)


def _copied(definition: Json) -> Json:
    return {**definition, "options": [dict(option) for option in definition["options"]]}


def _from_line(line: str) -> Json:
    name, label, kind, field_type, group, flags, choices = [*line.split("|"), ""][:7]
    built_in = definition(
        {"name": name, "label": label, "type": kind, "fieldType": field_type, "groupName": group},
        read_only="r" in flags,
        built_in=True,
        options=[_option(choice, place) for place, choice in enumerate(choices.split(",")) if choice],
    )
    changes = {"calculated": "c" in flags, "externalOptions": "x" in flags, "hasUniqueValue": "u" in flags}
    return {**built_in, **changes, "createdAt": _EPOCH, "updatedAt": _EPOCH}


def _option(choice: str, place: int) -> Json:
    value, _, label = choice.partition("=")
    shown = label or value.replace("_", " ").title()
    return {"label": shown, "value": value, "displayOrder": place, "hidden": False}


def definition(given: Json, *, read_only: bool, built_in: bool, options: list[Json]) -> Json:
    """A definition in the shape HubSpot answers with, defaults filled in."""
    whole: dict[str, Any] = {
        "description": "",
        "displayOrder": -1,
        "calculated": False,
        "externalOptions": False,
        "hasUniqueValue": False,
        "hidden": False,
        "formField": False,
        "archived": False,
        "dataSensitivity": "non_sensitive",
        **given,
        "options": options,
        "modificationMetadata": {
            "archivable": not built_in,
            "readOnlyDefinition": built_in,
            "readOnlyValue": read_only,
        },
    }
    if built_in:
        whole["hubspotDefined"] = True
    return whole
