"""The tools of agents: search and a sandbox for programs. They are stateless; the driver runs them and records their results."""
