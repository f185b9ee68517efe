"""Neural network layers: bases, encoders and denoisers."""
