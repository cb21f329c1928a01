"""LongT5: T5 for long documents."""
