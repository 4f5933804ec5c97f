"""Several processes that train together, one per device."""
