"""Crystal variational autoencoders and the conservative surrogate."""
