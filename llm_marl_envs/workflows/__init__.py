"""Workflows: one file each; the module name is the workflow name."""
