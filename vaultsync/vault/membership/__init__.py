"""Who belongs to a vault: joining, inviting, removing, passwords and recovery codes, and who may ask a relay."""

from __future__ import annotations

__all__: list[str] = []
