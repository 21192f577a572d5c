"""The cases of the DMN Technology Compatibility Kit: `runner` runs them, `values` compares."""
