"""What runs inside the sandbox. Only the standard library, and each module imports its neighbours by their bare names: the
interpreter in there knows nothing of this package."""
