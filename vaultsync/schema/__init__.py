"""What an application declares: kinds of values, entry types and their fields on one timeline of versions.

Pure: plain mappings in, plain mappings out; no clock, no random numbers, no I/O. Does not decide what a device shows
(that is ``view``) and does not know how entries are stored beyond their flat keys.
"""
