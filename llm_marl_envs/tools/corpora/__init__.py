"""Corpora that come with the package."""
