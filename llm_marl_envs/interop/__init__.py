"""Adapters: each imports its own library; nothing imports an adapter."""
