"""The document: the change codec and gate (pure), the layout of a vault, and the engine that merges."""
