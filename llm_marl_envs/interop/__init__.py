"""Adapters to other libraries that need no tokens, one a file. Each imports its own library; nothing imports an adapter."""
