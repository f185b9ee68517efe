"""Data sets: fetched, read, checked and kept in a columnar store on disk."""
