"""What goes to remotes and comes from them, and when: passes, envelopes, checkpoints, forks, findings, mirrors."""

from __future__ import annotations

__all__: list[str] = []
