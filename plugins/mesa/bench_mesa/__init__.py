"""MESA: defend by modelling the whole distribution of triggers (Qiao, Yang, Li, NeurIPS 2019)."""
