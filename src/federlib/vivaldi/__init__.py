"""Network coordinates: how far each peer is, learned from the traffic that there is anyway."""
