"""Invents the rows of a register: pure, the same for the same seed, one block of companies after the other.

What must be unique is computed from the company's number; what may vary is drawn from a generator seeded by
the block. So memory stays flat and a longer register begins with the shorter one of the same seed.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, count
from random import Random
from typing import Any, Final

from . import words

BLOCK: Final = 2_000
#: The primes below spread consecutive numbers over all names and all company numbers without repeating one.
LARGEST: Final = 15_000_000
NAMES: Final = len(words.PLACES) * len(words.TRADES) * len(words.HOUSES) * len(words.FORMS)
NAME_STEP: Final = 1_299_709
NUMBER_STEP, NUMBER_SPACE = 7_368_787, 15_485_863

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to make. `until`: no date is later; `countries` and `users`: primary keys, countries as in `words.COUNTRIES`."""

    seed: int
    until: dt.date
    countries: Sequence[int]
    users: Sequence[int]
    employees_per_company: float = 1.2
    deals_per_company: float = 1.0


@dataclass(slots=True)
class Block:
    """Rows of consecutive companies and what belongs to them, in the order of the columns in `load.COLUMNS`."""

    companies: list[Row] = field(default_factory=list)
    monitors: list[Row] = field(default_factory=list)
    employees: list[Row] = field(default_factory=list)
    deals: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class Numbers:
    """The next primary keys."""

    company: int = 1
    employee: int = 1
    deal: int = 1
    monitor: int = 1


def slug(text: str) -> str:
    """The ASCII letters of a text, without accents; words in other scripts vanish."""
    plain = unicodedata.normalize("NFKD", text.replace("ł", "l").replace("Ł", "L").replace("ø", "o").replace("Ø", "O"))
    return re.sub(r"[^a-z0-9]+", "", plain.encode("ascii", "ignore").decode().lower())


_SLUGS: Final = {word: slug(word) for word in (*words.PLACES, *words.TRADES, *words.HOUSES)}
_FIRST: Final = {first: slug(first) for group in words.FIRST_NAMES.values() for first in group}
_LAST: Final = {last: slug(last) for last in words.LAST_NAMES}
_SPELLINGS: Final = (
    "https://www.{domain}", "https://{domain}/", "{domain}", "www.{domain}", "http://{domain}/about-us", "{domain}.",
    "HTTP://WWW.{loud}/",
)  # fmt: skip
_SPELLING_WEIGHTS: Final = (35, 55, 70, 82, 90, 95, 100)
_COUNTRY_WEIGHTS: Final = tuple(accumulate(weight for _code, _name, weight, _deals in words.COUNTRIES))


def name_and_domain(number: int) -> tuple[str, str]:
    """The name and domain of the company with this number; no other has them."""
    again, left = divmod(number, NAMES)
    left = left * NAME_STEP % NAMES
    left, form = divmod(left, len(words.FORMS))
    left, house = divmod(left, len(words.HOUSES))
    place, trade = divmod(left, len(words.TRADES))
    parts = words.PLACES[place], words.TRADES[trade], words.HOUSES[house]
    suffix, ending = words.FORMS[form]
    mark = str(again + 1) if again else ""
    # A place in another script has no letters for a domain: its position keeps the domain unique.
    host = (_SLUGS[parts[0]] or f"place{place}") + _SLUGS[parts[1]] + _SLUGS[parts[2]] + mark
    return " ".join((*parts, mark, suffix) if mark else (*parts, suffix)), f"{host}.{ending}"


def house_number(number: int) -> str:
    """A Companies House number like real ones, unique: England and Wales, every 12th Scottish, every 40th Northern Irish."""
    if number % 12 == 0 and number // 12 < 1_000_000:
        return f"SC{number // 12:06d}"
    if number % 40 == 1 and number // 40 < 1_000_000:
        return f"NI{number // 40:06d}"
    return f"{number * NUMBER_STEP % NUMBER_SPACE:08d}"


def website(random: Random, domain: str) -> str:
    """One of the ways in which people write a web address."""
    (spelling,) = random.choices(_SPELLINGS, cum_weights=_SPELLING_WEIGHTS)
    return spelling.format(domain=domain, loud=domain.upper())


def blocks(recipe: Recipe, companies: int, first: Numbers) -> Iterator[Block]:
    """Blocks of at most BLOCK companies until there are `companies` of them."""
    last = first.company + companies
    for start in range(first.company, last, BLOCK):
        yield _BlockMaker(recipe, start, first).make(min(start + BLOCK, last))


class _BlockMaker:
    def __init__(self, recipe: Recipe, start: int, numbers: Numbers) -> None:
        self.recipe, self.start, self.numbers = recipe, start, numbers
        self.random = Random(f"{recipe.seed}:{start}")  # noqa: S311 - sample data, meant to be repeatable
        self.made = Block()
        self.people: list[tuple[str, str, str]] = []  # name, gender, e-mail of earlier companies' people

    def make(self, end: int) -> Block:
        for number in range(self.start, end):
            created = self._moment()
            country = self._country()
            self.made.companies.append(self._company(number, created, self.recipe.countries[country]))
            self._add_monitors(number)
            self._add_employees(number, created)
            self._add_deals(number, created, words.COUNTRIES[country][3])
        self.numbers.company = end
        return self.made

    def _company(self, number: int, created: dt.datetime, country: int) -> Row:
        draw = self.random.random
        name, domain = name_and_domain(number)
        if number > self.start and draw() < 0.005:
            name = self._earlier(number)[0]
        if number > self.start and draw() < 0.0055:
            domain = self._earlier(number)[1]
        if draw() < 0.00025:
            name = ""
        return (
            number,
            house_number(number) if draw() < 0.8 else "",
            name,
            f"{name or 'This company'} was entered into the register on {created:%-d %B %Y}." if draw() < 0.6 else "",
            self._day(0.05),
            country,
            self._website(domain),
            self.random.choice(self.recipe.users) if self.recipe.users and draw() < 0.92 else None,
            created,
            self._modified(created),
        )

    def _website(self, domain: str) -> str:
        chance = self.random.random()
        if chance < 0.0995:
            return ""
        return "n/a" if chance < 0.1 else website(self.random, domain)

    def _earlier(self, number: int) -> tuple[str, str]:
        return name_and_domain(self.random.randrange(max(self.start, number - 500), number))

    def _country(self) -> int:
        """Its position in `words.COUNTRIES`."""
        return self.random.choices(range(len(words.COUNTRIES)), cum_weights=_COUNTRY_WEIGHTS)[0]

    def _day(self, missing: float) -> dt.date | None:
        """A day of the last sixty years, recent ones more often."""
        if self.random.random() < missing:
            return None
        return self.recipe.until - dt.timedelta(days=int(21_900 * self.random.random() ** 1.6))

    def _moment(self) -> dt.datetime:
        seconds = int(3 * 365 * 86_400 * self.random.random())
        return dt.datetime.combine(self.recipe.until, dt.time(), dt.UTC) - dt.timedelta(seconds=seconds)

    def _modified(self, created: dt.datetime) -> dt.datetime:
        left = dt.datetime.combine(self.recipe.until, dt.time(), dt.UTC) - created
        return created if self.random.random() < 0.5 else created + left * self.random.random()

    def _how_many(self, mean: float) -> int:
        """Many have none or one, few have many (geometric distribution)."""
        return int(math.log(1.0 - self.random.random()) / math.log(mean / (1.0 + mean))) if mean > 0 else 0

    def _add_monitors(self, company: int) -> None:
        if not self.recipe.users or self.random.random() > 0.1:
            return
        users = self.random.sample(self.recipe.users, min(len(self.recipe.users), self.random.choice((1, 1, 1, 2, 3))))
        for user in users:
            self.made.monitors.append((self.numbers.monitor, company, user))
            self.numbers.monitor += 1

    def _add_deals(self, company: int, created: dt.datetime, size: float) -> None:
        for _ in range(self._how_many(self.recipe.deals_per_company)):
            amount = f"{size * 10 ** (4 + 3 * self.random.random()):.0f}.00"
            self.made.deals.append((self.numbers.deal, company, self._day(0.02), amount, created, created))
            self.numbers.deal += 1

    def _add_employees(self, company: int, created: dt.datetime) -> None:
        taken: set[str] = set()
        domain = name_and_domain(company)[1]
        new: list[tuple[str, str, str]] = []
        for _ in range(self._how_many(self.recipe.employees_per_company)):
            person = self._known_person(taken) or self._new_person(domain, taken)
            taken.add(person[2])
            new.append(person)
            self.made.employees.append(self._employee(company, person, created))
            self.numbers.employee += 1
        self.people.extend(person for person in new if person[2])

    def _known_person(self, taken: set[str]) -> tuple[str, str, str] | None:
        """Now and then somebody with a job at an earlier company."""
        if not self.people or self.random.random() >= 0.02:
            return None
        person = self.people.pop(self.random.randrange(len(self.people)))
        return None if person[2] in taken else person

    def _new_person(self, domain: str, taken: set[str]) -> tuple[str, str, str]:
        gender = self.random.choices("FMO", cum_weights=(48, 96, 100))[0]
        first, last = self.random.choice(words.FIRST_NAMES[gender]), self.random.choice(words.LAST_NAMES)
        name = first if self.random.random() < 0.005 else f"{first} {last}"
        if self.random.random() < 0.01:
            return name, gender, ""
        local = f"{_FIRST[first]}.{_LAST[last]}"
        free = (f"{local}{mark}@{domain}" for mark in chain(("",), count(2)))
        return name, gender, next(email for email in free if email not in taken)

    def _employee(self, company: int, person: tuple[str, str, str], created: dt.datetime) -> Row:
        name, gender, email = person
        return (
            self.numbers.employee,
            company,
            name,
            self.random.choice(words.JOBS),
            gender,
            self._as_typed(email),
            self._phone(),
            created,
            self._modified(created),
        )

    def _as_typed(self, email: str) -> str:
        chance = self.random.random()
        if chance < 0.001:
            return email and f" {email}"
        if chance < 0.1:
            return email.title()
        return email.upper() if chance < 0.12 else email

    def _phone(self) -> str:
        """A number of the ranges that are kept free for drama, in one of the usual spellings."""
        if self.random.random() < 0.2:
            return ""
        place, digits = self.random.choice(("20 7946", "1632 960", "7700 900")), self.random.randrange(1_000)
        line = f"0{digits:03d}" if place.startswith("20") else f"{digits:03d}"
        return f"+44 {place} {line}" if self.random.random() < 0.6 else f"0{place} {line}"
