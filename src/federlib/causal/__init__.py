"""The gate before disruptive actions: what is believed to cause what, and on what evidence."""
