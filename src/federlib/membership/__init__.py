"""Who is there: SWIM with Lifeguard, aware of roles and of distance."""
