"""The parts of a training run: optimizers and the schedule of the learning rate."""
