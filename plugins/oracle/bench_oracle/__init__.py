"""The ideal oracle: retrain with the attacker's own trigger."""
