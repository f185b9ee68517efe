"""Networks over crystals: encoder, decoder and the energy surrogate."""
