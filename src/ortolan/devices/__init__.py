"""What devices are, whether they fit a target, and how fast a model runs there."""
