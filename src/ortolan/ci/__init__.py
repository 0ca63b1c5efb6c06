"""What continuous integration runs: the jobs that a change touches, as a pipeline, and how they ended."""
