"""The training program: its arguments, its loop, and what it leaves in its folder."""
