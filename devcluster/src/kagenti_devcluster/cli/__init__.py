"""The command `kagenti-devcluster`: it parses arguments, calls the host side and prints."""
