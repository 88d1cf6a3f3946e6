"""A report of more than 100 kB, from tools whose results have 50 kB."""
