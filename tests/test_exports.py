"""The public face: what ``import vaultsync as vs`` promises is there, and nothing slipped in unlisted."""

from __future__ import annotations

import vaultsync
from vaultsync import errors


def test_every_listed_name_is_there() -> None:
    missing = [name for name in vaultsync.__all__ if not hasattr(vaultsync, name)]
    assert not missing


def test_every_error_is_exported_and_drawn_in_the_tree() -> None:
    assert set(errors.__all__) <= set(vaultsync.__all__)
    drawn = errors.__doc__ or ""
    assert [name for name in errors.__all__ if name not in drawn] == []


def test_every_error_has_advice() -> None:
    assert [name for name in errors.__all__ if not (getattr(errors, name).__doc__ or "").strip()] == []


def test_the_list_is_sorted_and_without_repetition() -> None:
    assert vaultsync.__all__ == sorted(set(vaultsync.__all__))
