"""Attention and feed-forward layers of LED and LongT5, and the block arithmetic under them."""
