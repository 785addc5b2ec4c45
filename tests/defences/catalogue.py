"""The defences, each with what takes it away: a passage of the source, and what to put in its place."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DEFENCES", "Defence"]


class Defence(NamedTuple):
    """``old`` stands once in ``file`` (below ``vaultsync/``); without it ``tests`` have to turn red."""

    name: str
    file: str
    old: str
    new: str
    tests: str


def _never(condition: str) -> tuple[str, str]:
    """An ``if`` that is never taken."""
    return f"if {condition}:", f"if False and ({condition}):"


ENVELOPES = "tests/crypto/test_envelope.py tests/crypto/test_vectors.py"
ROSTERS = "tests/crypto/test_roster.py tests/crypto/test_vectors.py tests/crypto/test_removal.py"
PAIRING = "tests/crypto/test_pairing.py"

DEFENCES = [
    # -- sealed objects
    Defence(
        "envelope: signature",
        "crypto/envelope.py",
        'p.verify(sign_public, data[-p.SIGNATURE :], "env-sig", env_id)',
        "pass",
        ENVELOPES,
    ),
    Defence(
        "key commitment",
        "crypto/primitives.py",
        *_never("not same(okm[32:64], commitment)"),
        "tests/crypto/test_primitives.py",
    ),
    Defence(
        "envelope: bound to vault and epoch",
        "crypto/envelope.py",
        *_never("header.vault_id != vault_id or header.epoch_id != epoch.id"),
        ENVELOPES,
    ),
    Defence(
        "envelope: nothing cut off or added",
        "crypto/envelope.py",
        *_never("len(data) != _HEAD + p.COMMITMENT + ct_len + p.SIGNATURE"),
        ENVELOPES,
    ),
    Defence("envelope: size cap first", "crypto/envelope.py", "or len(data) > _most(data[5]) or", "or", ENVELOPES),
    Defence(
        "padding is all zero",
        "crypto/packing.py",
        *_never("padded.count(0, 4 + length) != len(padded) - 4 - length"),
        "tests/crypto/test_packing.py " + ENVELOPES,
    ),
    Defence(
        "one encoding for one value",
        "crypto/packing.py",
        "canonical = pack(value) == data",
        "canonical = True",
        "tests/crypto/test_packing.py",
    ),
    Defence(
        "keys of small order",
        "crypto/primitives.py",
        "if y >= _P or y in _SMALL_ORDER_Y:",
        "if y >= _P:",
        "tests/crypto/test_primitives.py tests/crypto/test_keys.py",
    ),
    Defence(
        "keys in canonical form only",
        "crypto/primitives.py",
        "if y >= _P or y in _SMALL_ORDER_Y:",
        "if y in _SMALL_ORDER_Y:",
        "tests/crypto/test_primitives.py tests/crypto/test_keys.py",
    ),
    Defence(
        "hedged salts: contents go in",
        "crypto/primitives.py",
        'return keyed_hash(secret, "salt", draw(entropy, 32), sha256("salt-body", contents))',
        "return draw(entropy, 32)",
        "tests/crypto/test_rows.py " + ENVELOPES,
    ),
    Defence(
        "rows: bound to their place",
        "crypto/rows.py",
        "return p.open_aead(key, nonce, sealed[1 + _SALT :], self._place(table, row_key, heads))",
        "return p.open_aead(key, nonce, sealed[1 + _SALT :], self._place(table, row_key, b''))",
        "tests/crypto/test_rows.py",
    ),
    # -- passwords and codes
    Defence(
        "key derivation: bounds before allocation",
        "crypto/primitives.py",
        "if not params.acceptable(allow_weak=allow_weak):",
        "if False and not params.acceptable(allow_weak=allow_weak):",
        "tests/crypto/test_primitives.py tests/crypto/test_slots.py",
    ),
    Defence(
        "key slots: costs never fall",
        "crypto/slots.py",
        *_never("how == _PASSWORD and at_least is not None and params.raised_to(at_least) != params"),
        "tests/crypto/test_slots.py tests/crypto/test_renewal.py",
    ),
    Defence(
        "account: not weaker than the code was printed for",
        "crypto/account.py",
        *_never("version < code.version and not (version == TEST_VERSION and allow_weak)"),
        "tests/crypto/test_account.py tests/crypto/test_vectors.py",
    ),
    Defence(
        "account: bound to its locator",
        "crypto/account.py",
        "self._locator: bytes = secrets.locator",
        'self._locator: bytes = b""',
        "tests/crypto/test_account.py tests/crypto/test_vectors.py",
    ),
    Defence(
        "account: the roster shown must hold the head named in it",
        "vault/identity.py",
        *_never("not roster.knows(contents.roster_head)"),
        "tests/vault/test_joining.py",
    ),
    # -- roster
    Defence("roster: signature", "crypto/roster_rules.py", "    entry.verify(author)\n", "    pass\n", ROSTERS),
    Defence(
        "roster: only members write",
        "crypto/roster_rules.py",
        "if author is None or entry.author not in before.members:",
        "if author is None:",
        ROSTERS,
    ),
    Defence(
        "roster: only the recovery identity removes",
        "crypto/roster_rules.py",
        *_never("entry.op in (_DEVICES_ONLY if entry.author == before.recovery else _RECOVERY_ONLY)"),
        ROSTERS,
    ),
    Defence(
        "roster: newcomers prove their keys",
        "crypto/roster_rules.py",
        "    entry.claim.verify(vault_id)\n",
        "    pass\n",
        ROSTERS,
    ),
    Defence("roster: the removed stay away", "crypto/roster_rules.py", *_never("newcomer in before.gone"), ROSTERS),
    Defence(
        "epochs: the key is the one that the entry commits to",
        "crypto/epochs.py",
        "return _checked(plain, given.check)",
        "return EpochKey(plain)",
        "tests/crypto/test_epochs.py " + ROSTERS,
    ),
    Defence(
        "revocation: the end of a removed device's chain",
        "crypto/revocation.py",
        'raise Revoked("the device was removed',
        'return None and Revoked("the device was removed',
        "tests/crypto/test_revocation.py",
    ),
    Defence(
        "epochs: never back within a chain",
        "crypto/revocation.py",
        'raise StaleEpoch("the envelope is sealed under an older key than the one before',
        'return None and StaleEpoch("the envelope is sealed under an older key than the one before',
        "tests/crypto/test_epochs.py tests/crypto/test_revocation.py",
    ),
    # -- pairing
    Defence(
        "pairing: commitment before the code",
        "crypto/pairing.py",
        *_never("not p.same(commitment(nonce, opening), committed)"),
        PAIRING,
    ),
    Defence(
        "pairing: the answer is signed",
        "crypto/pairing.py",
        'p.verify(self._sponsor.sign, signature, "pair-answer", self._transcript, wrapped, sealed)',
        "pass",
        PAIRING,
    ),
    Defence(
        "pairing: invitations expire", "crypto/pairing.py", *_never("now_ms >= self.invitation.expires_ms"), PAIRING
    ),
    # -- changes
    Defence(
        "changes: only of the chain that carries them",
        "document/gate.py",
        *_never("actor is not None and change.actor != actor"),
        "tests/document/test_gate.py tests/vault/test_insider.py",
    ),
    Defence(
        "changes: counters continue those before",
        "document/gate.py",
        *_never("change.start_op != max([info.max_op for info in before if info], default=0) + 1"),
        "tests/document/test_gate.py tests/document/test_hostile.py",
    ),
    Defence(
        "changes: the next of their actor",
        "document/gate.py",
        *_never("change.seq != known.last_seq(change.actor) + 1"),
        "tests/document/test_gate.py",
    ),
    Defence(
        "changes: overwrite only what they know",
        "document/gate.py",
        "elif op.obj is None or new or not past.covers(pred) or not known.is_value(op.obj, op.key, pred):",
        "elif op.obj is None:",
        "tests/document/test_gate.py tests/document/test_hostile.py",
    ),
    Defence(
        "changes: canonical bytes only",
        "document/codec.py",
        "return _decode(chunk, canonical=True)",
        "return _decode(chunk, canonical=False)",
        "tests/document/test_mutations.py tests/document/test_gate.py tests/fuzz",
    ),
    Defence(
        "changes: neighbours in a column differ",
        "document/canonical.py",
        "if cell == last or head > left:",
        "if head > left:",
        "tests/document/test_canonical.py",
    ),
    Defence(
        "changes: one run of different cells, not two",
        "document/canonical.py",
        "elif head < 0 and not lone and -head <= left:",
        "elif head < 0 and -head <= left:",
        "tests/document/test_canonical.py",
    ),
    Defence(
        "changes: a run is bounded before it is expanded",
        "document/canonical.py",
        "if cell == last or head > left:",
        "if cell == last:",
        "tests/document/test_canonical.py",
    ),
    Defence(
        "changes: numbers in as few bytes as they need",
        "document/canonical.py",
        """    if not data[end - 1]:
        raise _UnusualError
""",
        "",
        "tests/document/test_canonical.py",
    ),
    Defence(
        "changes: actors are named by an operation",
        "document/canonical.py",
        "if not used.issuperset(range(1, len(actors))):",
        "if False:",
        "tests/document/test_canonical.py",
    ),
    Defence(
        "changes: values are their bytes, and all of them",
        "document/canonical.py",
        "if at != len(raw):",
        "if False:",
        "tests/document/test_canonical.py",
    ),
    Defence(
        "changes: by column, every key once",
        "document/gate.py",
        "if len(names) != len(before) + count or",
        "if",
        "tests/document/test_plainly.py",
    ),
    Defence(
        "changes: by column, overwrite only what was a value",
        "document/gate.py",
        "            or not known.is_value(obj, key, pred)\n",
        "",
        "tests/document/test_plainly.py",
    ),
    Defence(
        "changes: by column, nothing but maps and values",
        "document/gate.py",
        "return touched if actions.count(Action.SET) + makes == len(keys) else None",
        "return touched",
        "tests/document/test_plainly.py",
    ),
    *(
        Defence(
            f"changes: one after the other, by {what}",
            "document/gate.py",
            f"        and change.{line}\n",
            "",
            "tests/document/test_plainly.py",
        )
        for what, line in {
            "actor": "actor == last.actor",
            "number": "seq == last.seq + 1",
            "counters": "start_op == last.max_op + 1",
        }.items()
    ),
    # -- exchange
    Defence(
        "chains: an envelope follows the one before it",
        "sync/ready.py",
        "if record.contents.prev == env_id:",
        "if True:",
        "tests/sync",
    ),
    Defence(
        "tips: changes are signed for one by one",
        "vault/replication/parcels.py",
        "    bodies.verify_tip(sign_public, body.tip, header.vault_id, header.chain_id, last.seq, last.hash)\n",
        "    return\n",
        "tests/vault/test_insider.py",
    ),
    Defence(
        "checkpoints: the document is what its changes make",
        "document/inspector.py",
        "if not own and not _is_made_of(chunks, document, found):",
        "if False:",
        "tests/document/test_inspector.py",
    ),
    Defence(
        "checkpoints: every actor ends at its signed tip",
        "crypto/checkpoint.py",
        *_never("sorted((tip.seq, tip.hash) for tip in signed[actor]) != sorted(ends[actor])"),
        "tests/crypto/test_checkpoint.py",
    ),
    Defence(
        "checkpoints: everybody who wrote signs",
        "crypto/checkpoint.py",
        *_never("ends.keys() != signed.keys()"),
        "tests/crypto/test_checkpoint.py",
    ),
    Defence(
        "attachments: the contents that were attached",
        "vault/attachments.py",
        'raise Refused(f"the file {reference.name!r} is not the one',
        'return contents or Refused(f"the file {reference.name!r} is not the one',
        "tests/vault/test_attachments.py",
    ),
    # -- in whole vaults
    Defence(
        "vault: nothing past a removed device's end",
        "vault/replication/ends.py",
        "if self._paths.get(chain, {}).get(seq) != env_id and env_id not in self._vouch(chain, get):",
        "if False:",
        "tests/vault/test_revoked_forks.py",
    ),
    Defence(
        "vault: a removed device's rivals of what it wrote stay unseen",
        "vault/replication/ends.py",
        "(seq <= self._tips.get(chain, 0) and not new)",
        "seq <= self._tips.get(chain, 0)",
        "tests/vault/test_revoked_forks.py",
    ),
    Defence(
        "vault: nothing sealed under a key older than its writer had",
        "vault/replication/incoming.py",
        "check_epoch(self._identity.roster, epoch=epoch, roster_head=head, previous=previous)",
        "pass",
        "tests/vault/test_insider.py",
    ),
    Defence(
        "vault: checkpoints are held against their writers' signatures",
        "vault/replication/verifying.py",
        "sealed_checkpoint.verify(",
        "(lambda *_, **__: None)(",
        "tests/vault/test_checkpoint_attacks.py",
    ),
    # -- several branches, several processes
    Defence(
        "checkpoints: a branch below the cover is looked for",
        "sync/beneath.py",
        "return rivals | chain.looks",
        "return rivals",
        "tests/sync/test_beneath.py",
    ),
    Defence(
        "pushers: one process of a device at a time",
        "store/store.py",
        "return FileLock(files.lock_path(self.path))",
        'return FileLock(self.path.with_name(f"{self.path.name}-{id(self)}"))',
        "tests/vault/test_mirror_writers.py",
    ),
    Defence(
        "passwords: what was begun is finished when the file is opened",
        "vault/membership/passwords.py",
        "transaction.set_state(REKEY, following.to_bytes())",
        "pass",
        "tests/vault/test_account_kills.py",
    ),
]
