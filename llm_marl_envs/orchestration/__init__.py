"""Traces and other systems' logs in the public orchestration-trace schema: export, metrics, import, a page."""
