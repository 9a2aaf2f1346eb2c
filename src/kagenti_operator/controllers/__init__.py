"""The contract: a folder per subject, and the features that the command line switches on."""
