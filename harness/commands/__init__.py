"""The commands of `eadbench`, one function each; `harness.cli` registers them."""
