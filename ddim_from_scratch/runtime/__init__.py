"""What every floor stands on: arrays and threads, trees, files, errors, the command line, processes."""
