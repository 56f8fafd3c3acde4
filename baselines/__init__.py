"""Trainers for teams of language models. Read `train.py` first: it is the whole loop."""
