"""Finding crystals of a composition: latent descent and the library of starts."""
