"""The same work in other stream processors; each runs in build/peers as a process of its own."""
