"""The acceptance plan, played on the sandbox in front of a person and by the end-to-end tests."""
