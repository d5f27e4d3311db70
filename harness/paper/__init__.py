"""The paper's own figures and claims, and how ours stand beside them."""
