"""What the embedded drivers share: a blocking engine made into a `RecordStore`, and its locks."""
