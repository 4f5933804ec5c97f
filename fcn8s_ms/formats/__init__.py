"""Formats read byte by byte or field by field: PNG, Protocol Buffers, JSON."""
