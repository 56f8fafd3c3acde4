"""From episodes to one advantage per turn: plain arithmetic, no tensors.

Every function takes the batch's episodes and returns a `Credit`: (place in the batch, turn index) -> advantage or `Signal`.
"""
