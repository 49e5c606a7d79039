"""What is installed is loaded each by itself; what is broken becomes a sentence, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.core.exceptions import ImproperlyConfigured
from syncline import registry as plugins
from syncline.contract import (
    Capability,
    ConfigError,
    ConnectorFault,
    ConnectorInfo,
    ConnectorSpec,
    Dataset,
    DatasetInfo,
    ObjectType,
    Page,
    PullRequest,
    RateLimited,
    Session,
    UnsupportedFeature,
    hookimpl,
)
from syncline.registry import Connector, Registry, checks

pytestmark = pytest.mark.unit

GOOD = """
from syncline.contract import ConnectorInfo, ConnectorSpec, hookimpl

class Plugin(ConnectorSpec):
    @hookimpl
    def describe(self):
        return ConnectorInfo(key="{key}", title="T", version="1", contract="{contract}", capabilities=frozenset())
"""


class Site:
    """A folder that looks like site-packages, into which tests install connectors."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.installed = folder, 0

    def install(self, key: str, source: str = "", *, says: str = "", contract: str = ">=1,<2") -> str:
        self.installed += 1
        name = f"fake_{self.folder.name.replace('-', '_')}_{self.installed}"
        text = source or GOOD.format(key=says or key, contract=contract)
        (self.folder / f"{name}.py").write_text(text)
        info = self.folder / f"{name}-2.{self.installed}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.{self.installed}\n")
        (info / "entry_points.txt").write_text(f"[syncline.connectors]\n{key} = {name}:Plugin\n")
        return name

    def registry(self) -> Registry:
        return Registry(self.entries())

    def entries(self) -> list[EntryPoint]:
        found = distributions(path=[str(self.folder)])
        return [entry for one in found for entry in one.entry_points]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Site(tmp_path)


def only_reason(registry: Registry) -> str:
    (broken,) = registry.broken
    assert broken.next_step
    return broken.reason


def test_a_connector_knows_its_distribution_and_version(site: Site) -> None:
    name = site.install("acme")

    connector = site.registry().connector("acme")

    assert (connector.key, connector.distribution, connector.version) == ("acme", name, "2.1")


BREAKAGES = {
    "raise AssertionError('no licence')": "AssertionError while importing: no licence",
    "raise SystemExit(3)": "SystemExit while importing: 3",
    "import a_library_that_is_not_there": "No module named 'a_library_that_is_not_there'",
    "x = (": "SyntaxError",
    "": "has no attribute 'Plugin'",
    "class Plugin: ...": "is not a subclass of syncline.contract.ConnectorSpec",
    GOOD.format(key="bad", contract=">=1") + "    def __init__(self): raise RuntimeError('no')": "RuntimeError: no",
    GOOD.format(key="bad", contract=">=1") + "    @hookimpl\n    def pusch(self): return 1": "pusch",
    GOOD.format(key="bad", contract=">=1") + "    @hookimpl\n    def push(self, sesion): return 1": "sesion",
    GOOD.format(key="bad", contract=">=1").replace("return ConnectorInfo", "ConnectorInfo"): "returned nothing",
    GOOD.format(key="bad", contract=">=1").replace("@hookimpl", ""): "does not offer describe",
    GOOD.format(key="other", contract=">=1"): "its key is 'other', but its entry point is 'bad'",
    GOOD.format(key="bad", contract=">=9"): "needs the contract >=9; this host has 1.0",
    GOOD.format(key="bad", contract="newest"): "is not a version specifier",
}


@pytest.mark.parametrize(("source", "reason"), BREAKAGES.items(), ids=list(BREAKAGES.values()))
def test_a_broken_connector_is_told_with_its_reason_and_the_others_work(site: Site, source: str, reason: str) -> None:
    site.install("bad", source or "pass")
    site.install("good")

    registry = site.registry()

    assert list(registry.connectors) == ["good"]
    assert reason in only_reason(registry)


def test_a_key_that_is_no_slug_is_refused(site: Site) -> None:
    site.install("Acme CRM")

    assert "not a slug" in only_reason(site.registry())


def test_a_key_offered_twice_is_used_by_none_even_when_others_stand_between(site: Site) -> None:
    first, _between, second = site.install("acme"), site.install("better"), site.install("acme")

    registry = site.registry()

    assert list(registry.connectors) == ["better"]
    assert len(registry.broken) == 2
    assert all(first in one.reason and second in one.reason for one in registry.broken)


def test_asking_for_a_connector_that_is_not_there_says_what_to_do(site: Site) -> None:
    site.install("bad", "raise AssertionError('no licence')")
    registry = site.registry()

    with pytest.raises(ConfigError, match=r"acme is not installed. Install its package"):
        registry.connector("acme")
    with pytest.raises(ConfigError, match=r"bad does not work: .* no licence .*Reinstall"):
        registry.connector("bad")


def test_nothing_is_loaded_before_it_is_asked_for(site: Site) -> None:
    site.install("loud", "from pathlib import Path\nPath(__file__).with_name('loaded').touch()\n" + GOOD)

    registry = site.registry()
    before = (site.folder / "loaded").exists()
    registry.broken  # noqa: B018

    assert not before
    assert (site.folder / "loaded").exists()


def test_broken_connectors_are_warnings_of_the_system_check(site: Site) -> None:
    site.install("bad", "raise SystemExit(3)")

    with plugins.using(site.registry()):
        (message,) = checks.broken_connectors()

    assert message.id == "syncline.W001"
    assert "bad" in message.msg
    assert message.hint


# --- the facade


class Base(ConnectorSpec):
    @hookimpl
    def describe(self) -> ConnectorInfo:
        return ConnectorInfo("acme", "Acme", "1", ">=1", frozenset({Capability.PULL}))


SESSION, TYPE, REQUEST = cast(Session, None), cast(ObjectType, None), cast(PullRequest, None)


def pull_from(plugin: ConnectorSpec) -> Iterator[Page]:
    return Connector("acme", plugin).call.pull(session=SESSION, object_type=TYPE, request=REQUEST)


def page(position: str) -> Page:
    return cast(Page, position)


def test_a_hook_the_plugin_lacks_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFeature, match=r"acme does not offer discover"):
        Connector("acme", Base()).call.discover(session=SESSION)


def test_a_forgotten_return_is_a_fault() -> None:
    class Forgetful(Base):
        @hookimpl
        def discover(self, session: Session) -> Sequence[ObjectType]:
            return cast(Sequence[ObjectType], None)

    with pytest.raises(ConnectorFault, match=r"acme.discover returned nothing"):
        Connector("acme", Forgetful()).call.discover(session=SESSION)


@pytest.mark.parametrize("error", [KeyError("token abc"), SystemExit(2)])
def test_a_foreign_error_becomes_a_fault_that_does_not_repeat_its_text(error: BaseException) -> None:
    class Failing(Base):
        @hookimpl
        def discover(self, session: Session) -> Sequence[ObjectType]:
            raise error

    with pytest.raises(ConnectorFault, match=type(error).__name__) as caught:
        Connector("acme", Failing()).call.discover(session=SESSION)
    assert "abc" not in str(caught.value)


def test_the_errors_of_the_contract_pass_unchanged_also_between_pages() -> None:
    class Limited(Base):
        @hookimpl
        def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
            yield page("a")
            raise RateLimited(after=3)

    pages = pull_from(Limited())

    assert next(pages) == page("a")
    with pytest.raises(RateLimited):
        next(pages)


def test_a_foreign_error_between_pages_becomes_a_fault() -> None:
    class Late(Base):
        @hookimpl
        def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
            yield page("a")
            raise ValueError("late")

    pages = pull_from(Late())
    next(pages)

    with pytest.raises(ConnectorFault, match=r"acme.pull failed with ValueError in pull, line \d+"):
        next(pages)


def test_a_plugin_is_told_when_the_host_stops_reading() -> None:
    closed = []

    class Careful(Base):
        @hookimpl
        def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
            try:
                yield page("a")
                yield page("b")
            finally:
                closed.append(True)

    pages = pull_from(Careful())
    next(pages)
    cast(Any, pages).close()

    assert closed == [True]


def test_pages_that_end_end() -> None:
    class Short(Base):
        @hookimpl
        def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
            yield page("a")

    assert list(pull_from(Short())) == [page("a")]


# --- apps


class Things(Dataset):
    def __init__(self, key: str) -> None:
        self.info = DatasetInfo(key=key, label="Things", fields=())


class App:
    def __init__(self, label: str, *keys: str) -> None:
        self.label, self.keys = label, keys

    @hookimpl
    def register_datasets(self, register: Callable[[Dataset], None]) -> None:
        for key in self.keys:
            register(Things(key))

    @hookimpl
    def api_routes(self) -> Sequence[object]:
        return [f"{self.label}-route"]

    @hookimpl
    def api_root_routes(self) -> Sequence[object]:
        return [f"{self.label}-root"]


def test_every_app_offers_its_datasets_and_routes() -> None:
    registry = Registry(apps=[App("shop", "shop.orders", "shop.items"), App("hr", "hr.people")])

    assert list(registry.datasets) == ["hr.people", "shop.items", "shop.orders"]
    assert registry.api_routes == {"shop": ["shop-route"], "hr": ["hr-route"]}
    assert registry.api_root_routes == {"shop": ["shop-root"], "hr": ["hr-root"]}
    with pytest.raises(ConfigError, match=r"No installed app offers the dataset shop\.sales"):
        registry.dataset("shop.sales")


@pytest.mark.parametrize(
    ("apps", "reason"),
    [
        ([App("shop", "shop.orders"), App("hr", "shop.orders")], "registered twice"),
        ([App("shop", "Orders")], "not of the form"),
        ([SimpleNamespace(label="shop", register_dataset=hookimpl(lambda: None))], "register_dataset"),
    ],
)
def test_a_faulty_app_stops_the_host_with_a_sentence(apps: list[object], reason: str) -> None:
    registry = Registry(apps=apps)

    with pytest.raises(ImproperlyConfigured, match=reason):
        registry.datasets  # noqa: B018
    with plugins.using(registry):
        assert [message.id for message in checks.app_hooks()] == ["syncline.E001"]


def test_a_registry_put_in_place_for_a_test_gives_way_again() -> None:
    before = plugins.registry()
    with plugins.using(Registry()) as empty:
        assert plugins.registry() is empty
        assert plugins.connectors() == {}
    assert plugins.registry() is before
