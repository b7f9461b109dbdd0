"""Why a compared method misses or exceeds its published accuracy: choices its paper leaves open, varied one by one."""
