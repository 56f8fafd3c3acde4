"""Scores what others submit: every episode is replayed and re-graded before a number is believed. Needs no torch."""
