"""Keys, sealed rows, envelopes and the roster. FORMAT.md is the specification; the only package to import
``cryptography``.
"""
