"""Training of the networks, and building of the libraries that predictions use."""
