"""What the local schema makes of stored entries: status, values, what is missing and why, and how to write an edit.

Pure: mappings in, immutable pictures and planned operations out; no clock, no random numbers, no I/O. What is stored
comes from other devices and other versions, so reading is total. Of ours it imports ``schema``, ``errors``, ``limits``.
"""
