"""What makes a `RecordStore` of an engine that blocks, for an event loop and for threads."""
