"""Ask what is served: a SavedModel alone, or a server of it. Needs neither Keras nor tfmodels."""
