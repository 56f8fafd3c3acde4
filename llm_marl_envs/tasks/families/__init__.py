"""What the tasks of one family share: reading rows, grading, tools."""
