"""What the demonstration's messages hold: letters, results and lists that look like the real ones, about nobody.

Names, addresses, practices and hospitals are made up. NHS numbers come from the range 999, which is kept for tests.
Every function gives the same bytes for the same arguments.
"""
