"""Every method under one protocol: stored rows, and the tables and figures that are made from them alone."""
