"""Changes to a network after it has been built: for a CPU, several devices, inference."""
