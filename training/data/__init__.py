"""A user's files to rows, rows to tokens on disk, and what these are like."""
