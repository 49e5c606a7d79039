"""The admin with our own site; stands in INSTALLED_APPS in the place of `django.contrib.admin`."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class SynclineAdminConfig(AdminConfig):
    default_site = "syncline.pages.site.SynclineSite"
