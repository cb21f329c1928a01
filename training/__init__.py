"""Fine-tuning on documents and summaries: `python -m training`."""
