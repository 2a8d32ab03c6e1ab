"""The encoder's backends, one module each; imported only when chosen."""
