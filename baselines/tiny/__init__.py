"""The embedded model: about a million parameters, built from a config, warm-started in a minute, cached. Nothing to download."""
