"""Checkpoints through real servers: written in parts, joined from, and what they hold is deleted there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.remote.test_objects_remote import bucket  # noqa: F401 - a fixture
from tests.remote.test_objects_remote import remote_at as objects_at
from tests.remote.test_webdav_remote import folder  # noqa: F401 - a fixture
from tests.remote.test_webdav_remote import remote_at as webdav_at
from tests.vault.test_checkpoints import DAY, World, titles
from vaultsync import limits


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKPOINT_AFTER_ENVELOPES", 5)
    monkeypatch.setattr(limits, "CHECKPOINT_PART_BYTES", 1_000)
    monkeypatch.setattr(limits, "CATCH_UP_ENVELOPES", 4)


def lived_through(remote: Any) -> None:
    world = World(remote, seed=repr(remote))
    world.edits(world.first, 12)
    assert world.count("ckpt") > 2
    before = world.count("env")
    world.clock.advance(2 * DAY)
    assert world.first.sync().collected
    assert world.count("env") < before
    phone = world.device("Phone")
    assert titles(phone) == titles(world.first)
    assert phone.sync().complete


def test_an_object_store(s3_server: Any, bucket: str) -> None:  # noqa: F811
    lived_through(objects_at(s3_server.url, bucket))


def test_webdav(dav_server: Any, folder: str) -> None:  # noqa: F811
    lived_through(webdav_at(dav_server.url, folder))
