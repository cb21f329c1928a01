"""A training run that can stop anywhere and go on exactly."""
