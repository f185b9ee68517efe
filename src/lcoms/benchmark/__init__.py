"""Every method under one protocol: rows that are kept, and the tables and figures that are made from them alone."""
