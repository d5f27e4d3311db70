"""The commands of `eadbench`, each a function; `harness.cli` puts them together."""
