"""Protocol version 1, checked from outside. Each file has a twin for Node."""
