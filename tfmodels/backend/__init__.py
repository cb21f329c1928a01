"""The one place that knows which backend runs, and what Keras keeps to itself."""
