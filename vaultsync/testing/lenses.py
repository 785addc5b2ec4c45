"""Does a lens keep its laws? For the test suites of applications that declare their own.

::

    def test_my_lens():
        check_lens(my_lens, my_schema, old={"price": st.decimals(0, 99).map(str)})

Values are drawn from the kinds of the fields; what older versions really stored is often narrower, and the application
knows it: ``old`` and ``new`` say so, field by field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from vaultsync.errors import UsageError
from vaultsync.schema.kind import KindMismatch
from vaultsync.schema.lenses import Lens
from vaultsync.schema.spelling import checked
from vaultsync.schema.types import Field, Schema
from vaultsync.testing.strategies import values_for

__all__ = ["LensBroken", "check_lens"]


class LensBroken(AssertionError):
    """A lens breaks a law. The message is the smallest story that was found."""


Values = Mapping[str, Any]


def check_lens(
    lens: Lens,
    fields: Schema | Iterable[Field],
    *,
    old: Mapping[str, st.SearchStrategy[Any]] | None = None,
    new: Mapping[str, st.SearchStrategy[Any]] | None = None,
    examples: int = 300,
) -> None:
    """Try the laws of a lens on ``examples`` generated values; the same ones in every run.

    ``fields``: where the kinds of its fields are found. ``old``, ``new``: strategies for fields whose values are
    narrower than their kinds. Raises ``LensBroken`` with the smallest counterexample that was found, ``UsageError``
    when a field is not among ``fields``. Slots have nothing that could be wrong.
    """
    if lens.form == "slot":
        return
    kinds = _known(fields)
    olds = [_named(kinds, name) for name in lens.old]
    news = [_named(kinds, name) for name in lens.new]
    asked = _Asked(lens, olds, news)
    for law in (asked.old_alone, asked.new_alone, asked.both)[: 2 if lens.form == "alias" else 3]:  # the simplest first
        _search(law, _values(olds, old or {}), _values(news, new or {}), examples)


def _search(
    law: Callable[[Values, Values], None],
    olds: st.SearchStrategy[dict[str, Any]],
    news: st.SearchStrategy[dict[str, Any]],
    examples: int,
) -> None:
    """Raise the smallest ``LensBroken`` among so many pairs of values."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(olds, news)
    def search(before: dict[str, Any], after: dict[str, Any]) -> None:
        law(before, after)

    try:
        search()
    except LensBroken as broken:
        raise LensBroken(str(broken)) from None  # without the notes about how it was found


def _known(fields: Schema | Iterable[Field]) -> dict[str, Field]:
    if isinstance(fields, Schema):
        return {field.name: field for kind in fields.types.values() for field in kind.fields}
    return {field.name: field for field in fields}


def _named(fields: Mapping[str, Field], name: str) -> Field:
    if name not in fields:
        raise UsageError(f"check_lens: the lens names a field {name!r} that is not among the fields given")
    return fields[name]


def _values(fields: list[Field], narrower: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Values of some of the fields, as they read once they are stored."""
    drawn = st.fixed_dictionaries({}, optional={f.name: narrower.get(f.name, values_for(f.kind)) for f in fields})
    return drawn.map(lambda values: checked(fields, values))


class _Asked:
    """A lens asked for its laws, one method a group; each raises ``LensBroken``."""

    def __init__(self, lens: Lens, olds: list[Field], news: list[Field]) -> None:
        self.lens, self.olds, self.news = lens, olds, news

    def ask(self, what: str, *values: Values) -> dict[str, Any]:
        """What one of its functions makes of values."""
        given, place = ", ".join(map(repr, values)), f"lens {self.lens.ends}"
        try:
            return checked(self.olds if what == "back" else self.news, getattr(self.lens, what)(*map(dict, values)))
        except KindMismatch as error:
            raise LensBroken(f"{place}: {what}({given}) does not fit: {error}") from None
        except Exception as error:
            raise LensBroken(f"{place}: {what}({given}) raises {type(error).__name__}: {error}") from None

    def must(self, what: str, found: Values, expected: Values, why: str) -> None:
        if dict(found) != dict(expected):
            raise LensBroken(f"lens {self.lens.ends}: {what} is {found!r}, not {expected!r}: {why}")

    def old_alone(self, before: Values, _: Values) -> None:
        got = self.ask("get", before)
        self.must(f"get({before!r}), asked again,", self.ask("get", before), got, "devices would not agree")
        why = "older devices would see another value than they wrote"
        self.must(f"back(get({before!r}))", self.ask("back", got), before, why)

    def new_alone(self, _: Values, after: Values) -> None:
        down = self.ask("back", after)
        if self.lens.form == "alias":
            why = "it is stored in its older form only, which loses something"
            self.must(f"get(back({after!r}))", self.ask("get", down), after, why)
        else:
            kept = self.ask("put", after, down)
            self.must(f"put({after!r}, back of it)", kept, after, "what nobody edited would change")

    def both(self, before: Values, after: Values) -> None:
        low = self.ask("back", self.ask("put", after, before))
        self.must(f"back(put({after!r}, {before!r}))", low, before, "an older edit would be lost")
