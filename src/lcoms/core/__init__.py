"""What everything stands on: errors, configuration, files."""
