"""Starting experiments: sweeps here, and templates for clusters and cloud machines."""
