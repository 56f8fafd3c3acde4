"""Graders: what an answer's text amounts to, and whether that is the gold answer."""
