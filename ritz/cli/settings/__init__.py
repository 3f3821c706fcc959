"""Settings of the command line and of YAML files: names, values, class paths, and their checks."""
