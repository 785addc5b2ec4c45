"""How a rehearsal fails, and the story that goes with it."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Found", "RehearsalFailed"]


class Found(Exception):
    """Something that must not be. Internal: the runner shrinks the history and raises ``RehearsalFailed``.

    ``kind`` and ``subject`` tell whether a shorter history shows the same."""

    def __init__(self, kind: str, subject: str, text: str, *shows: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.subject = subject
        self.text = text
        self.shows = shows
        """What devices show then, for the end of the story."""


class RehearsalFailed(AssertionError):
    """A history in which devices hurt each other's data, or a schema that differs from its lock.

    ``kind``: "law", "lost", "came back", "disagree", "unwritten", "unknown", "leftover", "refused", "unrest",
    "notice", "view", "trash" or "lock". ``subject``: the lens, field or type. ``story``: the shortest history that was
    found, a line a step. ``seed`` replays it: ``rehearse(schema, seed=seed, histories=1)``. ``histories``: how many it
    took.
    """

    def __init__(
        self,
        kind: str,
        subject: str,
        text: str,
        *,
        story: Sequence[str] = (),
        seed: str = "",
        histories: int = 0,
        versions: tuple[int, ...] = (),
    ) -> None:
        self.kind = kind
        self.subject = subject
        self.text = text
        self.story = tuple(story)
        self.seed = seed
        self.histories = histories
        self.versions = versions
        lines = [text, ""] if story else [text]
        lines += [f"  {number}. {line}" for number, line in enumerate(self.story, 1)]
        if seed:
            lines += ["", f"in {subject}, versions {', '.join(map(str, versions))}; history {histories}"]
            lines += [f"to see it again: rehearse(schema, seed={seed!r}, histories=1), other arguments as they were"]
        super().__init__("\n".join(lines))
