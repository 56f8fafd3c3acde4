"""Adapters to other trainers that need tokens, one a file. Each imports its own library; nothing imports an adapter."""
