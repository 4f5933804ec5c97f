"""What a CPU, several devices or a deployment change in a network after it has been built."""
