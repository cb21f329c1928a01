"""Attention and feed-forward layers, and their block arithmetic."""
