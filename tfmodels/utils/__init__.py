"""Checks, files, the hub: nothing here knows a model."""
