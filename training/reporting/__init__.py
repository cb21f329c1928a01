"""What a run shows and keeps: the log, the progress, tables and plots."""
