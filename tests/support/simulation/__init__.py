"""A cluster in virtual time, in which the whole operator runs while things go wrong by the roll of dice."""
