"""Which path is answered by what: every version of the API over the same handlers."""

from __future__ import annotations

from . import (
    account,
    admin,
    associations,
    associations_v3,
    batch,
    import_calls,
    merges,
    oauth,
    objects,
    people,
    properties,
    schemas,
    search,
    webhook_calls,
)
from .router import Endpoint, Handler, Router, Scopes
from .wire import Call

DATED = ("2026-03", "2026-09")
_SCOPED = {"companies": "companies", "contacts": "contacts", "deals": "deals"}


def _object_scopes(act: str) -> Scopes:
    def scopes(call: Call) -> tuple[str, ...]:
        return _of_object(call, call.args["type"], act)

    return scopes


def _of_object(call: Call, object_type: str, act: str) -> tuple[str, ...]:
    name = call.portal.table(object_type).kind.name
    if name == "tickets":
        return ("tickets",)
    return (f"crm.objects.{_SCOPED.get(name, 'custom')}.{act}",)


def _schema_scopes(act: str) -> Scopes:
    """Reading definitions needs no more than reading records."""

    def scopes(call: Call) -> tuple[str, ...]:
        name = _SCOPED.get(call.portal.table(call.args["type"]).kind.name, "custom")
        wide = (f"crm.objects.{name}.read", f"crm.schemas.{name}.read") if act == "read" else ()
        return (*wide, f"crm.schemas.{name}.write", *(("tickets",) if name == "custom" else ()))

    return scopes


def _link_scopes(act: str) -> Scopes:
    """There is no scope of associations: those of the record they start from count."""

    def scopes(call: Call) -> tuple[str, ...]:
        return _of_object(call, call.args.get("from") or call.args["type"], act)

    return scopes


def _plain(*scopes: str) -> Scopes:
    return lambda _: scopes


def build() -> Router:
    router = Router()
    for family, prefix in (("v3", "/crm/v3/objects"), *((date, f"/crm/objects/{date}") for date in DATED)):
        _objects(router, family, prefix)
    for family, prefix in (("v3", "/crm/v3/properties"), *((date, f"/crm/properties/{date}") for date in DATED)):
        _properties(router, family, prefix)
    for family, single, many in (
        ("v4", "/crm/v4/objects", "/crm/v4/associations"),
        ("v3", "/crm/v3/objects", "/crm/v4/associations"),
        *((date, f"/crm/objects/{date}", f"/crm/associations/{date}") for date in DATED),
    ):
        _links_of_one(router, family, single)
        _links_by_the_batch(router, "v4" if many.startswith("/crm/v4") else family, many)
    _links_v3(router)
    _account(router)
    _oauth(router)
    _admin(router)
    return router


def _objects(router: Router, family: str, prefix: str) -> None:
    read, write = _object_scopes("read"), _object_scopes("write")
    for method, path, kind, handler, scopes, pool in (
        ("POST", "/batch/create", "batch_create", batch.batch_create, write, "burst"),
        ("POST", "/batch/read", "batch_read", batch.batch_read, read, "burst"),
        ("POST", "/batch/update", "batch_update", batch.batch_update, write, "burst"),
        ("POST", "/batch/upsert", "batch_upsert", batch.batch_upsert, write, "burst"),
        ("POST", "/batch/archive", "batch_archive", batch.batch_archive, write, "burst"),
        ("POST", "/merge", "merge", merges.merge_records, write, "burst"),
        ("POST", "/gdpr-delete", "gdpr_delete", merges.gdpr_delete, write, "burst"),
        ("POST", "/search", "search", search.search, read, "search"),
        ("GET", "", "list", objects.list_records, read, "burst"),
        ("POST", "", "single_create", objects.create_record, write, "burst"),
        ("GET", "/{id}", "single_get", objects.get_record, read, "burst"),
        ("PATCH", "/{id}", "single_update", objects.update_record, write, "burst"),
        ("DELETE", "/{id}", "single_archive", objects.archive_record, write, "burst"),
    ):
        router.add(method, f"{prefix}/{{type}}{path}", Endpoint(kind, handler, scopes, pool, family))


def _properties(router: Router, family: str, prefix: str) -> None:
    read, write = _schema_scopes("read"), _schema_scopes("write")
    for method, path, kind, handler, scopes in (
        ("GET", "", "list", properties.list_properties, read),
        ("POST", "", "create", properties.create_property, write),
        ("POST", "/batch/create", "create", properties.batch_create, write),
        ("POST", "/batch/read", "read", properties.batch_read, read),
        ("POST", "/batch/archive", "archive", properties.batch_archive, write),
        ("GET", "/groups", "groups_read", properties.list_groups, read),
        ("POST", "/groups", "groups_write", properties.create_group, write),
        ("GET", "/groups/{group}", "groups_read", properties.get_group, read),
        ("PATCH", "/groups/{group}", "groups_write", properties.update_group, write),
        ("DELETE", "/groups/{group}", "groups_write", properties.archive_group, write),
        ("GET", "/{name}", "read", properties.get_property, read),
        ("PATCH", "/{name}", "update", properties.update_property, write),
        ("DELETE", "/{name}", "archive", properties.archive_property, write),
    ):
        endpoint = Endpoint(f"properties_{kind}", handler, scopes, family=family)
        router.add(method, f"{prefix}/{{type}}{path}", endpoint)


def _links_of_one(router: Router, family: str, prefix: str) -> None:
    to = "/{type}/{id}/associations/{to}"
    for method, path, kind, handler, act in (
        ("GET", to, "read", associations.list_of_record, "read"),
        ("PUT", f"{to}/{{to_id}}", "create", associations.put_labelled, "write"),
        ("DELETE", f"{to}/{{to_id}}", "archive", associations.delete_all, "write"),
        ("PUT", "/{type}/{id}/associations/default/{to}/{to_id}", "create", associations.put_default, "write"),
    ):
        endpoint = Endpoint(f"associations_{kind}", handler, _link_scopes(act), "associations", family)
        router.add(method, f"{prefix}{path}", endpoint)


def _links_by_the_batch(router: Router, family: str, prefix: str) -> None:
    for method, path, kind, handler, act in (
        ("POST", "/batch/create", "create", associations.batch_create, "write"),
        ("POST", "/batch/associate/default", "create", associations.batch_default, "write"),
        ("POST", "/batch/read", "read", associations.batch_read, "read"),
        ("POST", "/batch/archive", "archive", associations.batch_archive, "write"),
        ("POST", "/batch/labels/archive", "archive", associations.batch_unlabel, "write"),
        ("GET", "/labels", "labels_read", associations.list_labels, "read"),
        ("POST", "/labels", "labels_write", associations.create_label, "write"),
    ):
        endpoint = Endpoint(f"associations_{kind}", handler, _link_scopes(act), "associations", family)
        router.add(method, f"{prefix}/{{from}}/{{to}}{path}", endpoint)


def _links_v3(router: Router) -> None:
    for path, kind, handler, act in (
        ("create", "create", associations_v3.batch_create, "write"),
        ("read", "read", associations_v3.batch_read, "read"),
        ("archive", "archive", associations_v3.batch_archive, "write"),
    ):
        endpoint = Endpoint(f"associations_{kind}", handler, _link_scopes(act), "associations")
        router.add("POST", f"/crm/v3/associations/{{from}}/{{to}}/batch/{path}", endpoint)


def _account(router: Router) -> None:
    owners, anyone = _plain("crm.objects.owners.read"), _plain()
    custom_read = _plain("crm.schemas.custom.read", "crm.schemas.custom.write", "crm.objects.custom.read")
    custom_write = _plain("crm.schemas.custom.write")
    deals = _plain("crm.objects.deals.read", "crm.schemas.deals.read", "tickets")

    def both(method: str, resource: str, path: str, kind: str, handler: Handler, scopes: Scopes) -> None:
        for version, prefix in (("v3", f"/crm/v3/{resource}"), *((date, f"/crm/{resource}/{date}") for date in DATED)):
            router.add(method, prefix + path, Endpoint(kind, handler, scopes, family=version))

    files = _plain("crm.import")
    both("POST", "imports", "", "imports_create", import_calls.create, files)
    both("GET", "imports", "", "imports_read", import_calls.listing, files)
    both("GET", "imports", "/{id}", "imports_read", import_calls.get, files)
    both("GET", "imports", "/{id}/errors", "imports_errors", import_calls.errors, files)
    both("POST", "imports", "/{id}/cancel", "imports_cancel", import_calls.cancel, files)
    both("GET", "owners", "", "owners_list", account.list_owners, owners)
    both("GET", "owners", "/{id}", "owners_get", account.get_owner, owners)
    both("GET", "pipelines", "/{type}", "pipelines_read", account.list_pipelines, deals)
    both("GET", "pipelines", "/{type}/{id}", "pipelines_read", account.get_pipeline, deals)
    both("GET", "pipelines", "/{type}/{id}/stages", "pipelines_read", account.list_stages, deals)
    both("GET", "schemas", "", "schemas_read", schemas.list_schemas, custom_read)
    both("POST", "schemas", "", "schemas_write", schemas.create_schema, custom_write)
    both("GET", "schemas", "/{type}", "schemas_read", schemas.get_schema, custom_read)
    both("DELETE", "schemas", "/{type}", "schemas_write", schemas.archive_schema, custom_write)
    for version in ("v3", *DATED):
        usage = Endpoint("account_read", account.daily_usage, anyone, family=version)
        router.add("GET", f"/account-info/{version}/details", Endpoint("account_read", account.details, anyone))
        router.add("GET", f"/account-info/{version}/api-usage/daily/private-apps", usage)
        router.add("GET", f"/account-info/{version}/api-usage/daily", usage)
        prefix = f"/crm-object-schemas/{version}/schemas"
        router.add("GET", prefix, Endpoint("schemas_read", schemas.list_schemas, custom_read, family=version))
        router.add("POST", prefix, Endpoint("schemas_write", schemas.create_schema, custom_write, family=version))
        router.add("GET", f"{prefix}/{{type}}", Endpoint("schemas_read", schemas.get_schema, custom_read, family=version))


def _oauth(router: Router) -> None:
    def add(method: str, path: str, kind: str, handler: Handler) -> None:
        router.add(method, path, Endpoint(f"oauth_{kind}", handler, None))

    add("GET", "/oauth/authorize", "authorize", oauth.authorize)
    add("GET", "/oauth/v1/access-tokens/{token}", "introspect", oauth.info_by_path)
    add("GET", "/oauth/v1/refresh-tokens/{token}", "introspect", oauth.info_by_path)
    add("DELETE", "/oauth/v1/refresh-tokens/{token}", "revoke", oauth.delete_refresh)
    add("POST", "/oauth/v2/private-apps/get/access-token-info", "introspect", oauth.private_info)
    for version in ("v1", "v3", *DATED):
        add("POST", f"/oauth/{version}/token", "token", oauth.token)
    for version in ("v3", *DATED):
        add("POST", f"/oauth/{version}/token/introspect", "introspect", oauth.introspect)
        add("POST", f"/oauth/{version}/token/revoke", "revoke", oauth.revoke)


def _admin(router: Router) -> None:
    for method, path, handler in (
        ("GET", "/counters", admin.counters),
        ("POST", "/counters/reset", admin.reset_counters),
        ("GET", "/clock", admin.read_clock),
        ("POST", "/clock", admin.advance_clock),
        ("GET", "/config", admin.read_config),
        ("POST", "/config", admin.change_config),
        ("GET", "/faults", admin.list_faults),
        ("POST", "/faults", admin.arm_faults),
        ("DELETE", "/faults", admin.clear_faults),
        ("POST", "/reset", admin.reset),
        ("POST", "/tokens", admin.issue_token),
        ("POST", "/tokens/revoke", admin.revoke_tokens),
        ("POST", "/imports/{id}/fail", admin.fail_import),
        ("GET", "/objects/{type}", admin.dump),
        ("POST", "/objects/{type}/seed", admin.seed),
        ("POST", "/objects/{type}/{id}/merge", people.merge_object),
        ("DELETE", "/objects/{type}/{id}", people.delete_object),
        ("PATCH", "/objects/{type}/{id}", people.patch_object),
        ("POST", "/objects/{type}/edit", people.edit_objects),
        ("POST", "/objects/{type}/{id}/restore", people.restore_object),
        ("POST", "/owners", people.change_owners),
        ("GET", "/webhooks", webhook_calls.read),
        ("GET", "/webhooks/acknowledged", webhook_calls.acknowledged),
        ("POST", "/webhooks", webhook_calls.subscribe),
        ("DELETE", "/webhooks", webhook_calls.unsubscribe),
        ("POST", "/associations/{type}/{to}", people.link_objects),
        ("DELETE", "/properties/{type}/{name}", admin.delete_property),
        ("PATCH", "/properties/{type}/{name}", admin.patch_property),
    ):
        router.add(method, f"/_sandbox{path}", Endpoint("admin", handler, None))
