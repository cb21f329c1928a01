"""Checks, files and the hub, independent of any model."""
