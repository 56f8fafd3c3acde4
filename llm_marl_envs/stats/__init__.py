"""Figures about episodes and their intervals: the only definition of each, read by scores, reports, metrics, exports and rewards."""
