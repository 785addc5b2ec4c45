"""Every bound of the package, with its reason. Nothing else in the package holds a magic number of this kind."""

from __future__ import annotations

from typing import Final

# ---- document: what one change may hold -------------------------------------------------------------------------
MAX_OPS_PER_CHANGE: Final = 20_000
"""A batch above this becomes several changes: decoding one takes tens of milliseconds, and a run-length bomb is
refused early."""
MAX_CHANGE_BYTES: Final = 16 << 20
"""Raw size of one change chunk; 20,000 long notes fit, an inflated bomb does not."""
MAX_DEPS_PER_CHANGE: Final = 1_024
"""Dependencies of one change: at most one per device incarnation that wrote concurrently."""
MAX_ACTORS_PER_CHANGE: Final = 4_096
"""Other actors named by one change."""
MAX_KEY_CHARS: Final = 512
"""One key of an entry: field name, separator, and a tag of up to 256 characters."""
MAX_PREDS_PER_CHANGE: Final = 80_000
"""Operations that one change overwrites; a key overwrites several only after as many concurrent writes to it."""
MAX_OPS_PER_PACK: Final = 100_000
"""Operations of changes packed in columns, where few bytes may stand for many; larger batches are packed plainly."""
MAX_FLAT_KEY_CHARS: Final = 192
"""Keys outside of entries: "<type>@<n>", a device id, a setting."""
MAX_VALUE_BYTES: Final = 4 << 20
"""One scalar, encoded. Larger contents belong into an attachment."""
MAX_OP_COUNTER: Final = 1 << 31
"""Operation counters. One near 2**32 would make every later write impossible."""
MAX_SAFE_INT: Final = 1 << 53
"""Integers beyond this are stored as F64: JavaScript readers of the same vault could not hold them."""

MAX_FORK_STATES: Final = 256
"""Ways of having known less of forked chains that are tried to understand a change; eight forks of one vault fit."""
MAX_FORKED_CHANGES: Final = 1 << 20
"""Changes that a document holds others for, as a checkpoint brings them along."""

# ---- schema -----------------------------------------------------------------------------------------------------
MAX_NAME_CHARS: Final = 64
"""Names of types and fields."""
MAX_LABEL_CHARS: Final = 256
"""What people call a type or field; it is shown in lists and sentences."""
MAX_TAG_CHARS: Final = 256
"""One tag after normalising."""
MAX_ELEMENT_ID_CHARS: Final = 32
"""Id of a list item or note line."""
MAX_POSITION_CHARS: Final = 64
"""A position fraction; about 300 halvings of one gap. Beyond it the neighbours are spread anew in the same change."""
MAX_VECTOR_BYTES: Final = 512 << 10
"""A stored ``$deleted`` vector, checked before it is parsed: some thousand incarnations fit, each takes about 50
bytes."""
MAX_JSON_DEPTH: Final = 8
"""Nesting of any JSON kept in a cell, checked before it is parsed."""
MAX_VERSION: Final = 1_000_000
"""Schema versions: small integers counted up by people; larger ones in a vault are not ours."""
MAX_DIFF_CELLS: Final = 40_000
"""Work of one exact comparison of two lists of lines (a block of 200 by 200); larger ones are cut at their unique
lines first."""
MAX_FILE_REF_BYTES: Final = 4 << 10
"""The stored reference to an attachment, checked before it is parsed: a name of 255 characters, a digest and a key."""
MAX_DECLARATION_BYTES: Final = 64 << 10
"""A published declaration, checked before it is parsed."""
MAX_DECLARATION_DEPTH: Final = 8
"""Nesting of a published declaration, checked before it is parsed."""
MAX_CENSUS_ROW_BYTES: Final = 4 << 10
"""A stored census row, checked before it is parsed: four short texts and a number."""
CENSUS_REFRESH_MS: Final = 7 * 24 * 3600 * 1000
"""A device writes its own census row when something in it changed, or after this long."""

MAX_DEVICE_NAME_CHARS: Final = 64
"""A device's name, as people type it; stored in every census row."""

# ---- store ------------------------------------------------------------------------------------------------------
SEGMENT_BYTES: Final = 64 << 10
"""Snapshot segments: a damaged page costs one segment, not the snapshot."""
BUSY_SECONDS: Final = 10.0
"""How long a write waits for another process before ``StoreBusy``."""
WAL_KEEP_BYTES: Final = 4 << 20
"""A write-ahead log that an import made large is cut back to this; about what SQLite checkpoints at anyway (1,000
pages)."""
MAX_STORE_VERSION: Final = 10_000
"""A file version above this is damage, not a file from the future."""
SNAPSHOT_AFTER_ROWS: Final = 2_000
"""Journal rows after which a new snapshot is written: replaying them costs about as much as loading a small vault."""
DEFLATE_FROM_BYTES: Final = 2 << 10
"""A change from this size on is deflated in its row: what an import writes becomes two fifths, a single edit hardly
anything."""
MAX_ROW_BYTES: Final = 32 << 20
"""What a deflated row may become: a change, or a strip of them, and room."""
STRIP_CHANGES: Final = 1_024
STRIP_BYTES: Final = 256 << 10
"""Of changes in one row of own ones that a snapshot holds as well: few rows, and no damaged page takes more than
this."""
STRIP_AT_LEAST: Final = 16
"""Fewer stay as they are."""
UNSENT_AT_HAND_BYTES: Final = 1 << 20
"""Own changes kept in memory until they are sent, so that sending reads nothing: some 5,000 edits."""
PREPARE_BYTES: Final = 1 << 20
"""Stored bytes of a document that is loaded ahead of the first edit without being asked: about 5,000 entries, a tenth
of a second in which nothing else runs."""
SNAPSHOT_AFTER_BYTES: Final = 32 << 20
"""The same by size, for vaults of large changes."""

MAX_FINDINGS: Final = 200
"""Findings that a vault keeps; the oldest that ended go first. People look at a few, an audit at more."""
MAX_INODE_MOVES: Final = 8
"""Incarnations that begin on one machine because the number of the file changed and nothing else; beyond it the file
lies on a file system that numbers anew with every mount."""

# ---- keys -------------------------------------------------------------------------------------------------------
ARGON2_MIN_KIB: Final = 19 << 10
"""OWASP's lower bound for Argon2id memory."""
ARGON2_MAX_KIB: Final = 1 << 20
"""1 GiB; a header that asks for more is hostile (allocation happens before any check of the password)."""
ARGON2_MAX_PASSES: Final = 10
ARGON2_MAX_LANES: Final = 8
MAX_PASSWORD_BYTES: Final = 4_096
"""A password in UTF-8. Normalising text costs more than linear time; nobody types this much."""
MAX_CODE_CHARS: Final = 200
"""A recovery code as typed, with every separator a person may add; longer input is not looked at."""
MAX_SLOT_BYTES: Final = 4_096
"""A key slot of the local file or an account slot on the remote; they have 139 and 345 bytes."""

# ---- envelopes and remotes --------------------------------------------------------------------------------------
MAX_ENVELOPE_BYTES: Final = 64 << 20
"""One sealed object; larger batches are several envelopes of one group."""
ENVELOPE_TARGET_BYTES: Final = 4 << 20
"""Changes are packed into envelopes of about this size, so that a cut-off pull resumes without fetching everything
again."""
MAX_ATTACHMENT_BYTES: Final = 32 << 20
"""One attached file. It is sealed and sent as one object, and held in memory meanwhile."""
MAX_ROSTER_ENTRY_BYTES: Final = 1 << 20
"""A rotation for some hundred devices fits (each grant is about 1.2 KB)."""
MAX_ROSTER_ENTRIES: Final = 10_000
"""Entries of one roster; each costs a signature check when a device joins."""
MAX_MEMBERS: Final = 500
"""Devices of one vault, revoked ones included."""
MAX_OBJECT_NAME_CHARS: Final = 255
"""Names of remote objects, with slashes; fits every file system and object store."""
MAX_LISTING_BYTES: Final = 64 << 20
"""One answer of a server that lists objects: half a million names, ten times what a vault that is tidied up ever
has."""
MAX_SETTLE_SECONDS: Final = 2.0
"""How long a folder may hold a file that is still being written before a reader reports it as incomplete."""

# ---- checkpoints ------------------------------------------------------------------------------------------------
MAX_CHECKPOINT_BYTES: Final = 256 << 20
"""One sealed checkpoint, in memory while it is made and verified. More than an envelope, for it holds a whole vault:
100,000 entries of ten fields take about 20 MB, so this leaves room for a long history. No remote sees an object of this
size: it travels in parts."""
CHECKPOINT_PART_BYTES: Final = 4 << 20
"""One object of a checkpoint, so that a cut-off pull resumes without fetching everything again."""
MAX_CHECKPOINT_PARTS: Final = MAX_CHECKPOINT_BYTES // CHECKPOINT_PART_BYTES
"""Objects of one checkpoint."""
CHECKPOINT_AFTER_ENVELOPES: Final = 1_000
"""A checkpoint is written when this many envelopes are in no verified one: fetching them costs a new device as many
round trips, a minute or more over an object store."""
CHECKPOINT_AFTER_BYTES: Final = 4 << 20
"""The same by size, and never less than the last checkpoint's own: what is written grows with what is shared, not with
the number of syncs."""
CATCH_UP_ENVELOPES: Final = 200
"""A device takes a checkpoint instead of at least this many envelopes: about what loading a document costs."""
CATCH_UP_BYTES: Final = 4 << 10
"""...and pays at most this much of a checkpoint for each envelope it saves: six one-edit envelopes, or the latency of
one round trip."""
MAX_CHECKPOINTS_LOOKED_AT: Final = 8
"""Checkpoints considered in one pass, those that claim to hold most first; whoever offers hundreds gains nothing."""
CHECKPOINT_PATIENCE: Final = 3
"""Passes for which a checkpoint that is listed but cannot be read yet holds back what it may explain: folders deliver
late and out of order."""
COLLECT_AFTER_MS: Final = 24 * 3600 * 1000
"""Envelopes go only after the deleter has known two checkpoints that cover them for this long: programs that sync
folders may carry a deletion to another device before they carry the checkpoint."""
COLLECT_BATCH: Final = 500
"""Objects deleted in one pass, so that collection never stands in the way of the next one for long."""
SWEEP_EVERY_MS: Final = 24 * 3600 * 1000
"""A device looks for what is of use to nobody so often: it costs two listings, and nothing is urgent."""
MAILBOX_AFTER_MS: Final = 3 * 24 * 3600 * 1000
"""A mailbox without change for so long is nobody's: an invitation is valid for a day, its answer waits for another."""
ATTACHMENT_AFTER_MS: Final = 180 * 24 * 3600 * 1000
"""An attachment to which nothing referred for so long may go. A device that attached it and was off all the time, and
whoever goes back to an older revision, have as long."""
INSPECT_BYTES: Final = 1 << 30
"""Address space of the process that verifies a checkpoint, besides what its size asks for: 91,000 changes fit."""
INSPECT_BYTES_EACH: Final = 128
"""...and for each byte of the document: the engine's columns expand about fifty times, and are held twice."""
MAX_INSPECT_BYTES: Final = 4 << 30
"""...and never more than this: a hostile checkpoint may cost that much for as long as it is looked at."""
INSPECT_SECONDS: Final = 60.0
"""Processor time for verifying a checkpoint, besides what its size asks for."""
INSPECT_SECONDS_EACH: Final = 30.0
"""...for each megabyte: on the slowest devices a hundred thousand changes take that long."""
MAX_INSPECT_SECONDS: Final = 900.0
"""...and never more than this."""
MAX_INSPECTION_BYTES: Final = 8 << 20
"""What that process may answer: a row for each chain and head, with room for more."""
PREVIEW_BYTES: Final = 64 << 20
"""Entries that it hands over to be looked at meanwhile, besides what the document's size asks for; if there are more,
they are not shown."""
PREVIEW_BYTES_EACH: Final = 8
"""...for each byte of the document, which holds them in a third of the room."""
MAX_PREVIEW_BYTES: Final = 512 << 20
"""...and never more than this."""
MAX_PREVIEW_FLAT_BYTES: Final = 4 << 20
"""Declarations, census and settings among it: more than a thousand devices have."""

# ---- importing --------------------------------------------------------------------------------------------------
MAX_IMPORT_BYTES: Final = 128 << 20
"""An export file. A hundred thousand items of a kilobyte fit; it is read whole, and parsing takes several times its
size in memory."""
MAX_IMPORT_RECORDS: Final = 200_000
"""Items of one export file: twice the largest vault this library is made for, and a file of empty rows stops early."""
MAX_IMPORT_DEPTH: Final = 16
"""Nesting inside one item of an export; real ones reach four."""
MAX_IMPORT_LEAVES: Final = 5_000
"""Values of one item of an export. Each may cost two operations, so that an entry still fits one change."""
MAX_SOURCE_CHARS: Final = 200
"""``$source`` of an imported entry, part of what is compared when a file is imported again."""

# ---- sealed structures ------------------------------------------------------------------------------------------
MAX_PACKED_DEPTH: Final = 8
"""Nesting of packed structures; the deepest of ours is 4."""
MAX_PACKED_ITEMS: Final = 4_096
"""Items of one packed list or map. The decoder allocates by the claimed length at every level of nesting, so this
(with its 1,024 levels) and not the input's size bounds memory: 32 MiB."""
MAX_CHAINS: Final = 4_096
"""Chains (incarnations) that one frontier or roster may name; as many as other actors in a change."""
MAX_ROSTER_PREV: Final = 64
"""Heads that one roster entry joins: entries written by devices that had not heard of each other."""
MAX_ACCESS_BYTES: Final = 512 * MAX_MEMBERS
"""A relay's list of a vault's access keys with its signatures: half a kilobyte a member."""
MAX_GRANTS: Final = 501
"""Epoch grants in one entry: every member and the recovery identity."""
SYNC_WINDOW: Final = 64
"""Envelopes of one chain fetched ahead of what is applied: a chain that waits holds at most this many in memory."""
LOOKS_BELOW_COVER: Final = 32
"""Envelopes of one chain, listed below a checkpoint's cover, that one pass opens to see whether the chain forked: two a
run of consecutive numbers, and collection leaves few runs."""
FETCH_BATCH: Final = 64
"""Envelopes being fetched at once: enough to hide a remote's latency, and what is lost when a pull is cut off."""
MAX_GROUP_ENVELOPES: Final = 256
"""Envelopes of one atomic batch, 1 GiB at the usual size: all of them are held in memory before any is applied."""
RECENT_ENVELOPES: Final = 64
"""Ids of applied envelopes remembered for each chain, to be compared with what other devices say they saw."""
MAX_REMOVED: Final = 500
"""Devices removed by one roster entry: all of them at once."""
MAX_INVITATION_CHARS: Final = 2_000
"""An invitation as typed or scanned, with every separator a person or messenger may add; longer input is not looked
at."""
MAX_URL_BYTES: Final = 512
"""A remote's address inside an invitation, which must still fit a QR code that a phone reads from a screen."""
MAX_MOVE_URL_BYTES: Final = 1_024
"""The address in a notice that a vault moved; no address in use is half as long."""
MAX_MOVES: Final = 999_999
"""Moves of one vault, as many as fit the number in a notice's name."""
MAX_PAIRING_BYTES: Final = 32 << 20
"""One message of a pairing. The largest carries the whole roster: 10,000 entries of usual size."""
