"""Is flat for the client flat for the federation? Local models against the global one."""
