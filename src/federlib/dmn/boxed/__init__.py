"""Boxed expressions, compiled to closures: `compiler` is the way in, and compiles tables too."""
