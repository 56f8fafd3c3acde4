"""What agents may use: search and a sandbox for programs. Stateless; answered by the driver and recorded."""
