"""What the gateway does as long as no other plugin does it: who may what, which endpoint, how long, which secrets."""
