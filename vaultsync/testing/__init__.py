"""What the library's own tests are made of, shipped so that yours can use it too. Nothing in production imports it."""

from __future__ import annotations
