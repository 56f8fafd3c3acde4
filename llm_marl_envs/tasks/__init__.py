"""Tasks: one file each; the module name is the task name."""
