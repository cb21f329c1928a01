"""The demonstration: documents and summaries made of the Python that is installed."""
