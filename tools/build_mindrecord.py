"""Builds MindRecord files: the program `python -m fcn8s_ms.build`, from a checkout."""

from fcn8s_ms.ending import end_at_signals

if __name__ == "__main__":
    end_at_signals("python -m fcn8s_ms.build")
    from fcn8s_ms.build import main

    main()
