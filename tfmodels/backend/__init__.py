"""Code that depends on the backend, or on private parts of Keras; no other folder holds any."""
