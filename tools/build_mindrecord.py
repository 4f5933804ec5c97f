"""Builds MindRecord files: the program `python -m fcn8s_ms.build`, from a checkout."""

from fcn8s_ms.build import main

if __name__ == "__main__":
    main()
