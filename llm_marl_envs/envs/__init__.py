"""Environments of other libraries' APIs over sessions."""
