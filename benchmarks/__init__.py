"""How fast and how large VaultSync is, beside what people would use instead. ``python -m benchmarks --help``."""
