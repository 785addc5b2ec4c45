"""Deciding what to exchange: no I/O, no clock and no randomness in here."""

from __future__ import annotations
