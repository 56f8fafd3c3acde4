"""Records of episodes: written, read, replayed, verified."""
