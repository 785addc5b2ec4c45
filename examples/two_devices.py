"""A laptop on the newest release and a phone on an older one share a vault through a folder.

    python examples/two_devices.py

Everything happens in a temporary folder. The tests run this file.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import vaultsync as vs

CONTACT = vs.EntryType(
    "contact",
    label="Contact",
    fields=[
        vs.Field("name", vs.text, until=2),  # 1.0 kept a name in one field ...
        vs.Field("first", vs.text, since=2),  # ... 2.0 has two
        vs.Field("last", vs.text, since=2),
        vs.Field("phone", vs.text, until=2),
        vs.Field("phones", vs.items(vs.text), since=2),
    ],
    lenses=[vs.split("name", ["first", "last"], since=2), vs.wrap("phone", "phones", since=2)],
)
PASSPORT = vs.EntryType("passport", label="Passport", since=2, fields=[vs.Field("number", vs.secret, since=2)])
SCHEMA = vs.Schema("contacts", version=2, types=[CONTACT, PASSPORT], releases={1: "1.0", 2: "2.0"})


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        remote = (here / "shared").as_uri()
        with vs.Vault.create(
            here / "laptop.vault", schema=SCHEMA.at(2, "linux"), password="correct horse", device="Laptop"
        ) as laptop:
            ann = laptop.add("contact", first="Ann", last="Lee", phones=["+1 555 0100", "+1 555 0199"])
            laptop.add("passport", number="X1234567")
            laptop.connect(remote)
            laptop.sync()

            with vs.Vault.join(
                here / "phone.vault",
                remote,
                schema=SCHEMA.at(1, "android"),
                password="correct horse",
                code=laptop.recovery_code or "",
                device="Phone",
            ) as phone:
                seen = phone.view()[ann.id]
                print(f"Phone 1.0 shows {seen['name']}, {seen['phone']} ({seen.status.value})")
                for notice in phone.view().notices:
                    print(f"  {notice}")

                phone.update(seen, name="Ann Miller")  # an old device edits what it knows
                phone.sync()
                laptop.sync()
                now = laptop.view()[ann.id]
                print(f"Laptop 2.0 shows {now['first']} {now['last']}, {len(now['phones'])} phone numbers")


if __name__ == "__main__":
    main()
