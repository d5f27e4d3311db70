"""The commands of `eadbench`, one function each; :mod:`eadbench.harness.commands.group` lists them."""
