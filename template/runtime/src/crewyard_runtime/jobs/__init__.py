"""How queued runs reach workers: a broker that only says "there is work", and workers that claim it from the store."""
