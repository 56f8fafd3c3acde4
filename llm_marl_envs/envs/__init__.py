"""Environments with other libraries' APIs, played by sessions."""
