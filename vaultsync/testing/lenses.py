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
    story: list[str] = []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(_values(olds, old or {}), _values(news, new or {}))
    def search(before: dict[str, Any], after: dict[str, Any]) -> None:
        if broken := _broken_law(lens, olds, news, before, after):
            story[:] = [broken]
            raise LensBroken(broken)

    try:
        search()
    except BaseException as error:  # Hypothesis may wrap or group several failures
        if story and isinstance(error, Exception):
            raise LensBroken(story[0]) from None
        raise


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


def _broken_law(lens: Lens, olds: list[Field], news: list[Field], before: Values, after: Values) -> str | None:
    """The first law that does not hold for an older and a newer value, in words; None if all do."""
    name = f"lens {lens.ends}"

    def ask(what: str, function: Callable[..., Any], fields: list[Field], *values: Values) -> dict[str, Any]:
        given = ", ".join(map(repr, values))
        try:
            made = checked(fields, function(*map(dict, values)))
        except KindMismatch as error:
            raise _Told(f"{name}: {what}({given}) does not fit: {error}") from None
        except Exception as error:
            raise _Told(f"{name}: {what}({given}) raises {type(error).__name__}: {error}") from None
        return made

    def must(what: str, found: Values, expected: Values, why: str) -> None:
        if dict(found) != dict(expected):
            raise _Told(f"{name}: {what} is {found!r}, not {expected!r}: {why}")

    try:
        got = ask("get", lens.get, news, before)
        must(f"get({before!r}), asked again,", ask("get", lens.get, news, before), got, "devices would not agree")
        low = ask("back", lens.back, olds, got)
        must(f"back(get({before!r}))", low, before, "older devices would see another value than they wrote")
        down = ask("back", lens.back, olds, after)
        if lens.form == "alias":
            up = ask("get", lens.get, news, down)
            must(f"get(back({after!r}))", up, after, "it is stored in its older form only, which loses something")
            return None
        put = ask("put", lens.put, news, after, before)
        again = ask("back", lens.back, olds, put)
        must(f"back(put({after!r}, {before!r}))", again, before, "an older edit would be lost")
        kept = ask("put", lens.put, news, after, down)
        must(f"put({after!r}, back of it)", kept, after, "what nobody edited would change")
    except _Told as told:
        return str(told)
    return None


class _Told(Exception):
    """A law that does not hold, in words."""
