"""Rehearsing your own schema: what happens when devices at several versions of *your* application share one vault.

::

    from vaultsync.testing import assert_rehearsed

    def test_versions_do_not_hurt_each_other():
        assert_rehearsed(acme.SCHEMA, lock="schema.lock")

Devices here are the real document and the real rules of viewing, editing, repairing and converting, without store, keys
or remote: hundreds of histories a second. A history is random, checked against what its people did and knew, and made
as short as it can be when it fails::

    RehearsalFailed: lens name -> first+last breaks its law back(get(old)) == old: …
      1. Phone 1 adds person with name 'kiwi3 plum4 fig5'
      2. Laptop 2 syncs with Phone 1
    to see it again: rehearse(schema, seed='7f2a/3', histories=1)

======== ================================================================================================
values   what is written, and the words by which it is followed
watch    your functions, watched while the library calls them
families fields that lenses connect
laws     what a lens must keep, on the values that come up
script   a history as data          author  random ones          shrink  the shortest that fails
device   an installation            world   plays a script, checks each step
stage    what all histories share
truth    who wrote what, knowing what
finale   what must hold at the end
lock     what was published
======== ================================================================================================
"""

from __future__ import annotations

from vaultsync.testing.rehearsal.failure import RehearsalFailed
from vaultsync.testing.rehearsal.lock import check_lock, write_lock
from vaultsync.testing.rehearsal.report import Report
from vaultsync.testing.rehearsal.runner import assert_rehearsed, rehearse

__all__ = ["RehearsalFailed", "Report", "assert_rehearsed", "check_lock", "rehearse", "write_lock"]
