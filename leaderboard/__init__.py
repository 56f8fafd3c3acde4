"""Scores what others submit: every episode is re-lived and re-graded before a number is believed. Needs no torch."""
