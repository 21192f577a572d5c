"""What the drivers of stores on a disk share: where they lie, and their locks."""

MAX_PAUSE_S = 0.050
"""How long a watching thread sleeps between two looks at a quiet disk, at most; seconds."""
