"""Messages between nodes: sealed packets over UDP, TCP for what does not fit, and memory."""
