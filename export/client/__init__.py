"""Clients of an exported model: of a SavedModel alone, or of a server. They need neither Keras nor tfmodels."""
