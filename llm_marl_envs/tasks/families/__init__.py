"""Code shared by the tasks of a family: reading rows, grading, tools."""
