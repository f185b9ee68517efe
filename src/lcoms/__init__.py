"""Crystal structure prediction by latent conservative objective models."""

__version__ = "0.1.0"
