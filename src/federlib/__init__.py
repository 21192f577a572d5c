"""federlib: an embeddable SDK for coordinating a fleet of processes."""
