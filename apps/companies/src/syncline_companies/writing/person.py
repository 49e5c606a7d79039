"""One person in memory: the jobs that are one person, and what happens to them when the person changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..models import Employee


class Person:
    """`row`, the job with the smallest key, stands for the person, and stays whatever becomes of the jobs."""

    def __init__(self, jobs: list[Employee], email: str) -> None:
        self.jobs, self.email = jobs, email
        self.before = {job.pk: _content(job) for job in jobs if job.pk is not None}

    @property
    def row(self) -> Employee:
        return self.jobs[0]

    @property
    def companies(self) -> set[int]:
        return {job.company_id for job in self.jobs}

    def key(self) -> str | None:
        return str(self.row.pk)

    def is_twice_in_one(self, wanted: Collection[int]) -> bool:
        """Whether two of the jobs that stay are in one company."""
        kept = [job.company_id for job in self.jobs if job.company_id in wanted]
        return len(set(kept)) < len(kept)

    def move(self, wanted: Collection[int]) -> None:
        """One job at least in each of these companies, none elsewhere. When the first job goes, its row becomes another one."""
        row = self.row
        kept = [job for job in self.jobs if job.company_id in wanted]
        new = sorted(set(wanted) - {job.company_id for job in kept})
        if row not in kept:
            if kept:
                taken = kept.pop(0)
                row.company_id, row.job_title, row.email = taken.company_id, taken.job_title, taken.email
            else:
                row.company_id = new.pop(0)
            kept = [row, *kept]
        self.jobs = [*kept, *(_like(row, company) for company in new)]

    def change(self, columns: Mapping[str, Any]) -> None:
        """In all jobs; another title is the new one only of jobs that had the title of the first."""
        title = self.row.job_title
        for job in self.jobs:
            for name, value in columns.items():
                if name != "job_title" or job.job_title == title:
                    setattr(job, name, value)

    def to_insert(self) -> list[Employee]:
        return [job for job in self.jobs if job.pk is None]

    def to_update(self) -> list[Employee]:
        """Those that changed, and the first in any case: when that was modified, the person was."""
        there = [job for job in self.jobs if job.pk is not None]
        return [job for job in there if job is self.row or _content(job) != self.before[job.pk]]

    def to_remove(self) -> set[int]:
        return self.before.keys() - {job.pk for job in self.jobs}


def _content(job: Employee) -> tuple[Any, ...]:
    return (job.company_id, job.name, job.job_title, job.gender, job.email, job.phone_number)


def _like(row: Employee, company: int) -> Employee:
    kept = {"name": row.name, "job_title": row.job_title, "gender": row.gender, "phone_number": row.phone_number}
    return Employee(company_id=company, email=row.email, **kept)


def people(jobs: Iterable[Employee]) -> list[Person]:
    """Jobs in the order of their keys, by the person who holds them."""
    alone: list[Person] = []
    shared: dict[str, list[Employee]] = defaultdict(list)
    for job in jobs:
        if job.email_key:
            shared[job.email_key].append(job)
        else:
            alone.append(Person([job], ""))
    return [*alone, *(Person(held, email) for email, held in shared.items())]
