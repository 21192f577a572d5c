"""Decisions as tables that people can read: DMN with FEEL."""
