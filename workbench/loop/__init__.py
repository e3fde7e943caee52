"""The one loop: restarts of any method, side by side, and the traces that they leave."""
