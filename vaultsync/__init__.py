"""VaultSync (under construction)."""
