"""The pixel-space baseline: invert one trigger by gradient descent on its pixels."""
