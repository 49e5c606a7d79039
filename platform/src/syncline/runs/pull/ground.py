"""Everything that a part of a pull needs, opened once."""

from __future__ import annotations

from dataclasses import dataclass

from syncline.contract import ConfigError, Dataset
from syncline.runs.job import Job, seed_of
from syncline.runs.models import RunPart
from syncline.runs.push.identities import Spec
from syncline.runs.push.reader import Source
from syncline.syncs.engine import CompiledMapping, Mode
from syncline.syncs.engine.content import Direction
from syncline.syncs.engine.threeway import dated
from syncline.syncs.models import Sync
from syncline.syncs.publish import compiled

from .finding import Finder, can_ask
from .glance import Glances
from .local import Writer
from .staging import Staging
from .work import Inflow


@dataclass(frozen=True)
class Settling:
    """By what it is known whether something of ours still has to be pushed: the sync's own mapping, or that of another sync
    which pushes the same records to the same object."""

    mapping: CompiledMapping
    source: Source


@dataclass(frozen=True)
class Ground:
    job: Job
    flow: Inflow
    finder: Finder
    writer: Writer
    spec: Spec
    settling: Settling | None

    @property
    def dataset(self) -> Dataset:
        return self.job.source.dataset


def opened(job: Job, *, whole: bool = False) -> Ground:
    """`whole`: a full listing begins or goes on, so that not all of the account is known yet."""
    inbound = job.mapping.inbound
    if inbound is None:
        raise ConfigError(f"The mapping of {job.sync.name} does not pull. Publish it again.")
    content = job.mapping.content
    spec = Spec.of(content.match.steps, job.object_type)
    flow = Inflow(
        sync_id=job.sync.pk,
        run_id=job.run.pk,
        scope=job.scope,
        mapping=job.mapping,
        inbound=inbound,
        glances=Glances(inbound, content.match.steps, spec.own),
        mode=content.mode,
        deletes=content.mode == Mode.MIRROR and job.sync.delete_policy in DELETING,
        whole=whole,
        history=dated(job.mapping.owners, inbound.properties, job.object_type),
    )
    dataset = job.source.dataset
    finder = Finder(
        scope=job.scope,
        dataset=dataset,
        mapping=job.mapping,
        glances=flow.glances,
        unique_key=job.object_type.unique_key or "",
        key_prefix=f"{job.session.installation}:{job.sync.dataset}:",
        staging=None if can_ask(dataset, job.mapping) else Staging.of(job.identifying(), candidates_of(job), job.alive),
        complete=not whole,
    )
    return Ground(job, flow, finder, Writer(dataset, job.sync.connection.owner), spec, _settling(job))


def candidates_of(job: Job) -> int:
    """Under which number a part's candidates stand: records fetched beside others have theirs apart from those of the run."""
    return -job.part.pk if job.part.kind == RunPart.Kind.FETCH else job.run.pk


DELETING = (Sync.DeletePolicy.ARCHIVE, Sync.DeletePolicy.DELETE)
"""Policies by which our record goes when theirs has gone."""


def _settling(job: Job) -> Settling | None:
    if job.mapping.content.pushes:
        return Settling(job.mapping, job.source)
    others = Sync.objects.filter(
        connection=job.sync.connection_id, object_type=job.sync.object_type, dataset=job.sync.dataset, enabled=True
    )
    other = others.exclude(direction=Direction.PULL).exclude(current=None).select_related("current").order_by("pk").first()
    if other is None or other.current is None:
        return None
    mapping = compiled(other.current)
    source = Source(
        dataset=job.source.dataset,
        fields=mapping.fields,
        scope=job.scope,
        segment="",
        owner=job.sync.connection.owner,
        seed=seed_of(mapping),
        run_id=job.run.pk,
    )
    return Settling(mapping, source)
