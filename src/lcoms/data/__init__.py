"""Data sets: downloaded, read, checked and kept in a columnar store on disk."""
