"""What every family of encoder-decoders shares."""
