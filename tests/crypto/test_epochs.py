from __future__ import annotations

import pytest

from tests.crypto.given import Seeded, device, flips
from vaultsync.crypto.epochs import Epoch, Link, grant, link, open_grant, open_links
from vaultsync.crypto.keys import EpochKey
from vaultsync.errors import BadSeal

OLD, MIDDLE, NEW, OTHER = (EpochKey.generate(Seeded(name)) for name in ("old", "middle", "new", "other"))
EPOCHS = {
    NEW.id: Epoch(NEW.check, (link(NEW, MIDDLE), link(NEW, OTHER))),
    MIDDLE.id: Epoch(MIDDLE.check, (link(MIDDLE, OLD),)),
    OTHER.id: Epoch(OTHER.check, (link(OTHER, OLD),)),
    OLD.id: Epoch(OLD.check),
}
CONTEXT = bytes(48)


def test_the_newest_key_reaches_every_older_one() -> None:
    assert open_links([NEW], EPOCHS) == {key.id: key for key in (OLD, MIDDLE, OTHER, NEW)}


def test_an_older_key_never_reaches_a_newer_one() -> None:
    assert open_links([MIDDLE], EPOCHS) == {key.id: key for key in (OLD, MIDDLE)}
    assert open_links([OLD], EPOCHS) == {OLD.id: OLD}
    assert open_links([], EPOCHS) == {}


def test_a_link_of_another_pair_or_with_a_flipped_bit_is_refused() -> None:
    good = link(NEW, OLD)
    for sealed in flips(good.sealed):
        with pytest.raises(BadSeal):
            open_links([NEW], {NEW.id: Epoch(NEW.check, (Link(OLD.check, sealed),))})
    for wrong in (Link(MIDDLE.check, good.sealed), link(MIDDLE, OLD)):
        with pytest.raises(BadSeal):
            open_links([NEW], {NEW.id: Epoch(NEW.check, (wrong,))})


def test_a_grant_opens_for_its_recipient_in_its_place() -> None:
    a, b = device("a"), device("b")
    given = grant(NEW, a.public, CONTEXT)
    assert open_grant(a, given, CONTEXT) == NEW
    for keys, wrong, context in [
        (b, given, CONTEXT),
        (a, given, b"\1" * 48),
        (a, given._replace(check=OLD.check), CONTEXT),
    ]:
        with pytest.raises(BadSeal):
            open_grant(keys, wrong, context)


def test_a_granter_cannot_give_one_member_another_key_for_the_epoch() -> None:
    a = device("a")
    lying = EpochKey(OTHER.key)
    lying.check = NEW.check  # seals the other key under the right info
    with pytest.raises(BadSeal):
        open_grant(a, grant(lying, a.public, CONTEXT), CONTEXT)
