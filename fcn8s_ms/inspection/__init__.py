"""Facts about the files of the package: what each holds, and whether it is whole."""
