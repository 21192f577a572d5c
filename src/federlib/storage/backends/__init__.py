"""The drivers that come with federlib; reach them by URL, through `federlib.storage.open_store`."""
