"""The foundation: devices and threads, parameter trees, files, errors, the command line, MPI processes."""
