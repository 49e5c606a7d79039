"""Tags of the admin's templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template
from django.db.models import Model
from django.template import Context

from syncline.pages import webhooks
from syncline.pages.record_panel import messages, panel
from syncline.syncs import notation

register = template.Library()


@register.simple_tag(takes_context=True)
def record_panel(context: Context, original: Any) -> Any:
    """The rows of the record panel; None outside an object's page."""
    return panel(context["request"].user, original) if isinstance(original, Model) else None


@register.simple_tag(takes_context=True)
def record_messages(context: Context, original: Any) -> Any:
    """The latest messages that changed this record."""
    return messages(context["request"].user, original) if isinstance(original, Model) else None


@register.inclusion_tag("syncline/webhook_card.html", takes_context=True)
def webhook_card(context: Context, owner: Any) -> dict[str, Any]:
    """The section about webhooks of a registration's or connection's page."""
    return {"card": webhooks.card(context["request"], owner), "csrf_token": context.get("csrf_token")}


@register.filter
def steps(transforms: object) -> str:
    """Transforms as the line a person writes."""
    return notation.write(transforms or [])


@register.filter
def item(mapping: Mapping[Any, Any], key: Any) -> Any:
    return mapping.get(key)


@register.filter
def grouped(number: int) -> str:
    """12345 as 12,345, whatever the server's locale."""
    return f"{number:,}"


@register.filter
def is_list(value: object) -> bool:
    return isinstance(value, list | tuple)
