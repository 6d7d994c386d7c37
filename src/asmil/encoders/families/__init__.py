"""How encoders are made, a family a file: timm, transformers, CONCH, and the one without weights."""
