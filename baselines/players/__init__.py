"""What speaks for a policy in this process and is no language model (`baselines.types.Player`)."""
