from __future__ import annotations

import json
from typing import Any

import pytest

from tests.crypto import make_vectors

STORED = [
    pytest.param(vector, id=f"{name}: {vector['about']}")
    for name in make_vectors.FILES
    for vector in json.loads((make_vectors.FOLDER / f"{name}.json").read_text())
]


@pytest.mark.parametrize("vector", STORED)
def test_stored_vectors_still_open_or_are_still_refused(vector: dict[str, Any]) -> None:
    assert make_vectors.run(vector) == vector["expect"]


@pytest.mark.parametrize("name", make_vectors.REPRODUCIBLE)
def test_sealing_from_the_same_entropy_still_gives_the_stored_bytes(name: str) -> None:
    stored = json.loads((make_vectors.FOLDER / f"{name}.json").read_text())
    assert list(make_vectors.FILES[name]()) == stored


def test_every_call_is_used_and_every_kind_of_refusal_is_there() -> None:
    vectors = [param.values[0] for param in STORED]
    assert {vector["call"] for vector in vectors} == set(make_vectors.CALLS)
    assert {vector["expect"].get("error") for vector in vectors} >= {
        "BadSeal",
        "BadSignature",
        "DamagedStore",
        "MalformedEnvelope",
        "MalformedRoster",
        "PairingFailed",
        "UpdateRequired",
        "WeakKey",
        "WrongCode",
        "WrongInvitation",
        "WrongPassword",
    }
