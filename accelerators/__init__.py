"""What compilers for TPUs and GPUs say about the models, without such a device; not installed with the package."""
