"""MLflow itself: the operand that is made where it is wanted, and the links to its user interface."""
