"""The rules that need torch, one module for each kind of component."""
