"""What every parsed record must satisfy, whatever file it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vaultsync.importers import Parsed, Record
from vaultsync.limits import MAX_SOURCE_CHARS
from vaultsync.presets.custom import decode
from vaultsync.presets.passwords import SCHEMA


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple | set | frozenset):
        return [text for one in value for text in _strings(one)]
    return []


@pytest.fixture(scope="session")
def texts() -> Callable[[Record], list[str]]:
    """Every text that a record holds, custom fields decoded."""

    def all_of(record: Record) -> list[str]:
        found = [text for value in record.values.values() for text in _strings(value)]
        for field in decode(record.values.get("custom", ()), record.values.get("custom_secret", ())):
            found += [field.name, field.value or ""]
        return [*found, record.source]

    return all_of


@pytest.fixture(scope="session")
def sound() -> Callable[[Parsed], Parsed]:
    """Checks what holds of every result: items add up, sources differ, values are what the preset's fields take."""

    def check(parsed: Parsed) -> Parsed:
        assert parsed.items == len(parsed.records) + sum(problem.lost for problem in parsed.problems)
        sources = [record.source for record in parsed.records]
        assert len(set(sources)) == len(sources)
        for record in parsed.records:
            assert 0 < len(record.source) <= MAX_SOURCE_CHARS + 10
            assert record.place
            kind = SCHEMA.active(record.type)
            assert kind is not None
            fields = {field.name: field for field in SCHEMA.fields_here(kind) if not SCHEMA.retired(field)}
            for name, value in record.values.items():
                assert fields[name].kind.check(value) is not None
                assert value != ""
                assert value != []
        return parsed

    return check
