"""Graders: which answer a text gives, and whether it is the gold answer."""
