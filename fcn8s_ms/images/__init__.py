"""Image files: what their headers say, and their pixels."""
